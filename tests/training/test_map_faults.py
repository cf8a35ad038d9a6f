"""Maps of a step that cannot be added: the run ends with that fault, and no checkpoint is written without them."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from attn import store as map_store
from attn.data.sample import Batch
from attn.errors import AttnError, StorageAwayError
from attn.methods.base import Progress, StepMaps, StepOutput
from attn.runs.config_reader import read_config
from attn.runs.table import build_components
from attn.training.accumulation import Accumulator, create_store
from attn.training.train_config import TrainConfig
from attn.training.trainer import Trainer
from attn.training.world import TrainingStopped, World
from tests.training.kept import Records

STEPS = 4  # an epoch
CONFIG = """
kind: train
data: {source: scenes, count: 16, size: 32, objects: [2, 3]}
validation: {split: null}
input: {size: 32}
model: {name: tiny, weights: null, head: conv, stride: 4, widths: [8, 8, 8]}
method: {name: oaa}
store: {accumulate: true, start_epoch: 0}
training: {epochs: 1, batch_size: 4}
tracking: {enabled: false}
"""


class NotFinite:
    """A method that returns maps with NaN in one step. Its logits are right, so that all maps are accepted."""

    def __init__(self, method: Any, step: int) -> None:
        self.method, self.bad = method, step

    def step(self, model: Any, batch: Batch, progress: Progress) -> StepOutput:
        output = self.method.step(model, batch, progress)
        assert output.maps is not None, "asked for"
        factor = math.nan if progress.step == self.bad else 1.0
        return replace(output, maps=StepMaps(output.maps.maps * factor, batch.labels * 2 - 1))


class Unreachable(Accumulator):
    """The object store does not answer in one of the calls."""

    def __init__(self, *arguments: Any, call: int) -> None:
        super().__init__(*arguments)
        self.left = call

    def add(self, batch: Batch, maps: StepMaps, epoch: int) -> None:
        self.left -= 1
        if self.left == -1:
            raise StorageAwayError("the object store does not answer")
        super().add(batch, maps, epoch)


def failing(folder: Path, bad: int, *overrides: str, away: bool = False) -> tuple[AttnError, Records]:
    """The error of a training in which the maps of a step, counted from 0, cannot be added, and what was written."""
    config, world = read_config(CONFIG, "config.yaml", list(overrides)), World(0, 1, torch.device("cpu"))
    assert isinstance(config, TrainConfig)
    components = build_components(config, rank=0, world=1)
    create_store(str(folder), config.store, config.input, components)
    made = (config.store, map_store.open(str(folder)), "run", world, 1)
    trainer = Trainer(config, world, components, Unreachable(*made, call=bad) if away else Accumulator(*made))
    if not away:
        object.__setattr__(components, "method", NotFinite(components.method, bad))
    written = Records()
    with pytest.raises(AttnError) as raised:
        trainer.fit(written)
    return raised.value, written


@pytest.mark.parametrize("bad", [STEPS - 2, STEPS - 1])
def test_no_epoch_ends_without_a_steps_maps(tmp_path: Path, bad: int) -> None:
    error, written = failing(tmp_path, bad)
    assert isinstance(error, TrainingStopped)
    assert "NaN" in str(error)
    assert not written.epochs
    assert not written.saved


@pytest.mark.parametrize(("bad", "saved"), [(0, []), (2, ["0-2"])])
def test_no_checkpoint_within_an_epoch_lacks_maps(tmp_path: Path, bad: int, saved: list[str]) -> None:
    error, written = failing(tmp_path, bad, "checkpoint.every_steps=2")
    assert "NaN" in str(error)
    assert written.saved == saved


def test_accumulated_batches(tmp_path: Path) -> None:
    error, written = failing(tmp_path, 0, "training.accumulate_steps=2", "training.batch_size=8")
    assert "NaN" in str(error)
    assert not written.saved


def test_a_store_that_does_not_answer_is_reported_as_such(tmp_path: Path) -> None:
    error, written = failing(tmp_path, STEPS - 2, away=True)
    assert isinstance(error, StorageAwayError)
    assert not written.saved
