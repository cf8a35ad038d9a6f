"""A run that is told to end saves where it stands, and goes on to what it would have come to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from attn import store as map_store
from attn.runs.recipes import load_config
from attn.training.accumulation import Accumulator, create_store
from attn.training.checkpoint import Position
from attn.training.classifier import build_components
from attn.training.reporter import EpochRecord, StepRecord
from attn.training.train_config import TrainConfig
from attn.training.trainer import Trainer, TrainingCancelled
from attn.training.world import World
from tests.training.alone import lone_trainer
from tests.training.kept import keep
from tests.training.two_workers import run_two

# 24 images in batches of 4, by one worker or by two together. Each worker normalises by statistics of its own images,
# and random parts of the images make every epoch another.
CONFIG = [
    "data.count=24", "data.size=32", "input.size=32", "model.widths=[8,8,8]", "model.stride=4", "validation.split=null",
    "training.epochs=3", "training.batch_size=4", "tracking.enabled=false", "store.gate=top_k", "store.start_epoch=0",
    "input.resize=crop", "input.crop_area=[0.3,1.2]",
]  # fmt: skip
EPOCHS, STEPS = 3, 6


class Ending:
    """Wants the run to end after a step, and keeps its newest checkpoint."""

    def __init__(self, folder: Path, rank: int, step: int | None) -> None:
        self.folder, self.rank, self.wanted = folder, rank, step
        self.made, self.saved = 0, list[str]()

    def step(self, record: StepRecord) -> None:
        self.made = record.step

    def cancelled(self) -> bool:
        return self.made == self.wanted

    def epoch(self, record: EpochRecord, trainer: Trainer) -> None: ...

    def checkpoint(self, position: Position, metrics: dict[str, float], write: Callable[[Path], None]) -> None:
        self.saved.append(f"{position.epoch}-{position.batch}")
        keep(self.folder / self.saved[-1], self.rank, write)


def train(folder: Path, world: World, *overrides: str, end: int | None = None, start: str | None = None) -> Ending:
    """Train to the end, or to the step at which it is wanted to end."""
    config = load_config(TrainConfig, "scenes_oaa", [*CONFIG, *overrides])
    parts = build_components(config, rank=world.rank, world=world.size)
    accumulator = Accumulator(config.store, map_store.open(str(folder / "store")), "run", world, EPOCHS)
    reporter = Ending(folder / "checkpoints", world.rank, end)
    trainer = Trainer(config, world, parts, accumulator)
    if end is None:
        trainer.fit(reporter, folder / "checkpoints" / start if start else None)
    else:
        with pytest.raises(TrainingCancelled):
            trainer.fit(reporter)
    return reporter


def make(folder: Path) -> Path:
    config = load_config(TrainConfig, "scenes_oaa", CONFIG)
    create_store(str(folder / "store"), config.store, config.input, build_components(config, rank=0, world=1))
    return folder


def outcome(folder: Path) -> tuple[dict[str, Any], str]:
    """The last checkpoint's weights and running statistics, and the digest of the maps that it names."""
    saved = torch.load(folder / "checkpoints" / f"{EPOCHS}-0" / "training.pt", weights_only=True)
    return saved["model"], map_store.open(str(folder / "store")).at(saved["store_version"]).digest()


def same(one: Path, other: Path) -> bool:
    (ours, maps), (theirs, others) = outcome(one), outcome(other)
    return maps == others and all(torch.equal(ours[name], theirs[name]) for name in ours.keys() | theirs.keys())


@pytest.mark.parametrize(("end", "saved"), [(1, "0-3"), (STEPS + 3, "1-5"), (STEPS + 4, "2-0"), (STEPS, "1-0")])
def test_alone_it_goes_on_as_if_nothing_had_happened(tmp_path: Path, end: int, saved: str) -> None:
    """A step is reported during the next one, and the wish that follows is known to all in the one after that."""
    world = World(0, 1, torch.device("cpu"))
    calm, ended = make(tmp_path / "calm"), make(tmp_path / "ended")
    train(calm, world)
    reporter = train(ended, world, end=end)
    assert reporter.made <= end + 2
    assert reporter.saved[-1] == saved
    train(ended, world, start=saved)
    assert same(calm, ended)


class Saving(Ending):
    """Wants a checkpoint after a step, of a trainer that then goes on."""

    trainer: Trainer

    def cancelled(self) -> bool:
        self.trainer.save_requested |= self.made == self.wanted
        return False


@pytest.mark.parametrize(("step", "saved"), [(1, "0-3"), (STEPS + 3, "1-5"), (STEPS + 4, "2-0")])
def test_a_checkpoint_that_is_asked_for_changes_nothing(tmp_path: Path, step: int, saved: str) -> None:
    world = World(0, 1, torch.device("cpu"))
    calm, asked = make(tmp_path / "calm"), make(tmp_path / "asked")
    train(calm, world)
    config = load_config(TrainConfig, "scenes_oaa", CONFIG)
    accumulator = Accumulator(config.store, map_store.open(str(asked / "store")), "run", world, EPOCHS)
    reporter = Saving(asked / "checkpoints", 0, step)
    reporter.trainer = Trainer(config, world, build_components(config, rank=0, world=1), accumulator)
    reporter.trainer.fit(reporter)
    assert sorted(reporter.saved) == sorted({saved, *(f"{epoch}-0" for epoch in range(1, EPOCHS + 1))}), "and only once"
    assert same(calm, asked)


def test_in_the_last_step_it_is_done(tmp_path: Path) -> None:
    config = load_config(TrainConfig, "scenes_grad_cam", [o for o in CONFIG if not o.startswith("store.")])
    reporter = Ending(tmp_path, 0, EPOCHS * STEPS)
    lone_trainer(config).fit(reporter)
    assert reporter.saved[-1] == f"{EPOCHS}-0"


def _worker(rank: int, calm: str, ended: str, meet: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meet}", rank=rank, world_size=2)
    world = World.current()
    train(Path(calm), world)
    often = "checkpoint.every_steps=4"  # which changes nothing either
    train(Path(ended), world, often, end=8 if rank == 0 else -1)  # one is told, both end
    train(Path(ended), world, often, start="1-3")
    dist.destroy_process_group()


def test_two_workers_end_at_one_step_with_statistics_of_their_own(tmp_path: Path) -> None:
    calm, ended = make(tmp_path / "calm"), make(tmp_path / "ended")
    run_two(_worker, str(calm), str(ended), str(tmp_path / "meet"))
    assert same(calm, ended)
