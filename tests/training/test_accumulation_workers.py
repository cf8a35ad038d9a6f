"""Whole training loops that accumulate, in processes of their own: alone, two together, and each resuming the other."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from attn import store as map_store
from attn.data.sample import Batch
from attn.methods.base import Method, Model, Progress, StepOutput
from attn.runs.recipes import load_config
from attn.training.accumulation import Accumulator, create_store
from attn.training.checkpoint import Position
from attn.training.classifier import build_components
from attn.training.reporter import EpochRecord, StepRecord
from attn.training.train_config import TrainConfig
from attn.training.trainer import Trainer
from attn.training.world import TrainingStopped, World
from tests.training.alone import lone_trainer
from tests.training.double import DoubleTrainer
from tests.training.kept import keep
from tests.training.two_workers import run_two

SIZES = [
    "data.count=22", "data.size=32", "input.size=32", "model.widths=[8,8,8]", "model.stride=4", "validation.split=null",
    "training.epochs=3", "training.batch_size=4", "checkpoint.every_steps=2", "tracking.enabled=false",
]  # fmt: skip
# A network that stays as it is shows the same maps on any number of workers; random flips and crops move them about.
STILL = ["optimizer.lr=1e-30", "model.batch_norm=frozen", "input.resize=crop", "input.crop_area=[0.3,1.2]"]
CASES = {
    "oaa": ["scenes_oaa", "store.gate=top_k", *STILL],
    "gain": ["scenes_gain", "store.accumulate=true", "store.fusion=mean", "method.warmup_epochs=2", *STILL],
}


class Keeper:
    """Keeps every checkpoint as a folder, as a job would."""

    def __init__(self, folder: Path, rank: int) -> None:
        self.folder, self.rank = folder, rank
        self.epochs: list[EpochRecord] = []

    def step(self, record: StepRecord) -> None: ...

    def cancelled(self) -> bool:
        return False

    def epoch(self, record: EpochRecord, trainer: Trainer) -> None:
        self.epochs.append(record)

    def checkpoint(self, position: Position, metrics: dict[str, float], write: Callable[[Path], None]) -> None:
        keep(self.folder / f"{position.epoch}-{position.batch}", self.rank, write)


def config_of(case: str) -> TrainConfig:
    recipe, *overrides = CASES[case]
    return load_config(TrainConfig, recipe, [*SIZES, *overrides])


def train(case: str, folder: Path, world: World, start: Path | None = None) -> list[EpochRecord]:
    config = config_of(case)
    accumulator = Accumulator(config.store, map_store.open(str(folder / "store")), "run", world, config.training.epochs)
    keeper = Keeper(folder / "checkpoints", world.rank)
    DoubleTrainer(config, world, accumulator).fit(keeper, start)
    if world.rank == 0:
        accumulator.publish(accumulator.version)
    return keeper.epochs


def make(case: str, folder: Path) -> Path:
    config = config_of(case)
    create_store(str(folder / "store"), config.store, config.input, build_components(config, rank=0, world=1))
    return folder


def digest(folder: Path) -> str:
    """Of the version that the last checkpoint names."""
    saved = torch.load(folder / "checkpoints/3-0/training.pt", weights_only=True)
    return map_store.open(str(folder / "store")).at(saved["store_version"]).digest()


def _worker(rank: int, jobs: list[tuple[str, str, str | None]], meet: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meet}", rank=rank, world_size=2)
    for case, folder, start in jobs:
        train(case, Path(folder), World.current(), None if start is None else Path(start))
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each case, trained by this process from start to end."""
    return {case: make(case, tmp_path_factory.mktemp(case)) for case in CASES}


@pytest.fixture(scope="module")
def records(alone: dict[str, Path]) -> dict[str, list[EpochRecord]]:
    world = World(0, 1, torch.device("cpu"))
    return {case: train(case, folder, world) for case, folder in alone.items()}


@pytest.fixture(scope="module")
def together(
    alone: dict[str, Path], records: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Each case by two workers: from the start, and from the middle of what was trained alone."""
    results = {case: make(case, tmp_path_factory.mktemp(case)) for case in CASES}
    jobs: list[tuple[str, str, str | None]] = [(case, str(folder), None) for case, folder in results.items()]
    for case, folder in alone.items():
        target = tmp_path_factory.mktemp(f"resumed-{case}")
        shutil.copytree(folder, target, dirs_exist_ok=True)
        results[f"{case} resumed"] = target
        jobs.append((case, str(target), str(folder / "checkpoints/1-2")))
    meet = tmp_path_factory.mktemp("meet") / "meet"
    run_two(_worker, jobs, str(meet))
    return results


@pytest.mark.parametrize("case", list(CASES))
def test_two_workers_leave_the_maps_of_one(case: str, alone: dict[str, Path], together: dict[str, Path]) -> None:
    assert digest(together[case]) == digest(alone[case])


@pytest.mark.parametrize("case", list(CASES))
def test_two_workers_go_on_where_one_stopped(case: str, alone: dict[str, Path], together: dict[str, Path]) -> None:
    """From the middle of an epoch; the store also holds all that one worker did after that."""
    assert digest(together[f"{case} resumed"]) == digest(alone[case])


@pytest.mark.parametrize("case", list(CASES))
def test_one_goes_on_where_two_stopped(
    case: str, alone: dict[str, Path], together: dict[str, Path], tmp_path: Path
) -> None:
    shutil.copytree(together[case] / "store", tmp_path / "store")
    train(case, tmp_path, World(0, 1, torch.device("cpu")), together[case] / "checkpoints/2-4")
    assert digest(tmp_path) == digest(alone[case])


@pytest.mark.parametrize("case", list(CASES))
def test_every_row_is_accounted_for(case: str, alone: dict[str, Path], records: dict[str, list[EpochRecord]]) -> None:
    rows = len(map_store.open(str(alone[case] / "store")).rows)
    assert not any(name.startswith("store/") for name in records[case][0].metrics)
    for record in records[case][1:]:
        assert record.metrics["store/accepted"] + record.metrics["store/dropped"] == rows
        assert 0 < record.metrics["store/accepted"] < rows
    snapshot = map_store.open(str(alone[case] / "store")).at()
    assert snapshot.coverage + records[case][-1].metrics["store/fallback"] == rows


@pytest.mark.parametrize("case", list(CASES))
def test_a_method_that_returns_no_maps_is_refused_at_its_first_step(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, world = config_of(case), World(0, 1, torch.device("cpu"))
    store = map_store.open(str(make(case, tmp_path) / "store"))
    accumulator = Accumulator(config.store, store, "run", world, config.training.epochs)
    trainer = DoubleTrainer(config, world, accumulator)
    method, asked = type(trainer.components.method), list[Progress]()
    step = method.step

    def without_maps(self: Method, model: Model, batch: Batch, progress: Progress) -> StepOutput:
        asked.append(progress)
        return replace(step(self, model, batch, progress), maps=None)

    monkeypatch.setattr(method, "step", without_maps)
    with pytest.raises(TrainingStopped, match=r"step returned no maps at epoch 2, step \d+: .*store.accumulate=false"):
        trainer.fit(Keeper(tmp_path / "checkpoints", 0))
    assert [progress.maps for progress in asked] == [False] * (len(asked) - 1) + [True]


def test_a_trainer_without_a_place_for_the_maps_is_refused() -> None:
    with pytest.raises(ValueError, match=r"store\.accumulate=True"):
        lone_trainer(config_of("oaa"))
