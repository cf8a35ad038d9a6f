"""The first steps of a recipe, in this process alone: does all of its path work as it stands?

    python -m benchmarks.first_steps sec_voc_paper data.root=... data.split=train labels.path=... training.batch_size=2

Data, labels, network, optimizer and schedule are as the recipe has them; training ends after ten steps of
the whole schedule, so that the learning rates are its own. `steps=3` takes fewer. Where the recipe has a second
round, its first steps follow, on the same labels.
"""

from __future__ import annotations

__all__ = ["main"]

import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from attn.errors import AttnError
from attn.runs.config_reader import read_config
from attn.runs.recipes import config_text
from attn.runs.table import build_components
from attn.segmentation.config import SegmentConfig
from attn.training.checkpoint import Position
from attn.training.reporter import EpochRecord, StepRecord
from attn.training.run_config import RunConfig
from attn.training.trainer import Trainer
from attn.training.world import World
from jobs.runs.run_folder import RunFolder
from jobs.training.hooks import TrainingRun, hooks_of
from jobs.training.worker import accumulator_of


class _EnoughError(Exception):
    """Ends a training."""


class _Told:
    def __init__(self, steps: int) -> None:
        self.steps, self.at = steps, time.perf_counter()

    def step(self, record: StepRecord) -> None:
        now = time.perf_counter()
        line = {"step": record.step, "of": record.steps, "lr": record.lr, "seconds": round(now - self.at, 1)}
        print(json.dumps(line | {name: round(value, 4) for name, value in record.losses.items()}), flush=True)
        self.at, self.steps = now, self.steps - 1
        if self.steps == 0:
            raise _EnoughError

    def cancelled(self) -> bool:
        return False

    def epoch(self, record: EpochRecord, trainer: Trainer) -> None:
        pass

    def checkpoint(self, position: Position, metrics: dict[str, float], write: Callable[[Path], None]) -> None:
        pass


def main(recipe: str, overrides: list[str], steps: int) -> None:
    """Train the first steps, and print each."""
    with tempfile.TemporaryDirectory() as root:
        config = read_config(*config_text(recipe), [*overrides, f"root={root}", "tracking.enabled=false"])
        folder = RunFolder(root, "first")
        run = TrainingRun(config, folder)
        hooks_of(config).validate(run)
        config = hooks_of(config).prepare(run)
        _train(config, run, steps)
        if isinstance(config, SegmentConfig) and config.retrain is not None:
            again = config.second_round(labels=config.labels, weights="")
            _train(again.model_copy(update={"model": config.model}), run, steps)


def _train(config: RunConfig, run: TrainingRun[RunConfig], steps: int) -> None:
    print(json.dumps({"run": config.title, "batch": config.training.batch_size}), flush=True)
    world = World.current()
    components = build_components(config, rank=0, world=1, sources=run.sources)
    accumulator = accumulator_of(config, world, run.folder, run.store)
    with contextlib.suppress(_EnoughError):
        Trainer(config, world, components, accumulator).fit(_Told(steps))


if __name__ == "__main__":
    given = sys.argv[1:]
    if not given:
        sys.exit("usage: python -m benchmarks.first_steps RECIPE [steps=10] [a.b=value ...]")
    count = [text for text in given if text.startswith("steps=")]
    try:
        rest = [text for text in given[1:] if text not in count]
        main(given[0], rest, int(count[-1].removeprefix("steps=")) if count else 10)
    except AttnError as error:
        sys.exit(str(error))
