"""Progress of a sweep: a line for each trial that ends, and figures in its folder for other programs."""

from __future__ import annotations

__all__ = ["PROGRESS", "progress_callback"]

import json
import math
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from attn import progress
from attn.boot_clock import Moment
from attn.display import figure
from attn.errors import AttnError
from attn.runs.sweep import SweepConfig
from jobs.runs.run_folder import RunFolder
from jobs.sweeps.results import Row, is_lost
from jobs.sweeps.trial_folder import EPOCH, OBJECTIVE, trial_number

PROGRESS = "progress.json"


def progress_callback(
    config: SweepConfig,
    folder: RunFolder,
    rows: Iterable[Row],
    *,
    epochs: int,
    reported: progress.Task,
    seconds: float = 2.0,
) -> Any:
    """A Ray Tune callback that reports the trials and writes the sweep's progress file.

    Args:
        rows: Trials that ended before this session.
        epochs: Of a trial that is not stopped early.
        reported: Counts the trials that have ended. The time left follows from the epochs of this session.
        seconds: Least time between two writes of the file; it is also written whenever a trial ends.
    """
    from ray.tune import Callback

    class ProgressCallback(Callback):
        def __init__(self) -> None:
            given = list(rows)
            self.scores = {row.number: row.objective for row in given if row.ended and row.objective is not None}
            self.ended = sum(row.ended for row in given)
            self.epochs = {row.number: row.epoch for row in given if not row.ended}
            self.running: set[int] = set()
            self.begun, self.written = time.monotonic(), float("-inf")
            self.at_begin = self.position()
            self.tell()

        def on_trial_result(
            self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
        ) -> None:
            number, score = trial_number(str(trial)), result.get(OBJECTIVE)
            if isinstance(score, float) and math.isfinite(score):
                self.scores[number] = score
            self.running.add(number)
            self.epochs[number] = int(result.get(EPOCH) or 0)
            self.tell()
            if time.monotonic() - self.written > seconds:
                self.keep()

        def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            self.report(trial, "ended")

        def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            number = trial_number(str(trial))
            self.scores.pop(number, None)
            if not is_lost(folder, number):
                self.report(trial, "failed")
                return
            self.running.discard(number)
            progress.say(f"trial {number} was lost after epoch {self.epochs.get(number, 0)}")

        def report(self, trial: Any, how: str) -> None:
            number = trial_number(str(trial))
            self.ended += 1
            self.running.discard(number)
            self.epochs.pop(number, None)
            self.keep()
            result, given = trial.last_result or {}, trial.config
            score, metric = result.get(OBJECTIVE), config.objective.metric
            shown = "" if score is None else f"  {figure(metric, score)} after epoch {result.get(EPOCH)}"
            values = ", ".join(f"{name}={given[name]}" for name in given if "." in name)
            self.tell()
            progress.say(f"trial {number} {how} ({self.ended} of {config.trials}){shown}  {values}")

        def best(self) -> int | None:
            """The trial with the best score so far."""
            choose = max if config.objective.mode == "max" else min
            return choose(self.scores, key=lambda number: self.scores[number], default=None)

        def position(self) -> float:
            """How many trials have ended, with the parts of those that were begun."""
            return self.ended + sum(min(epoch / epochs, 1.0) for epoch in self.epochs.values())

        def seconds_left(self) -> float | None:
            """Time left at the speed of this session; None before its first epoch."""
            position = self.position()
            if position <= self.at_begin:
                return None
            each = (time.monotonic() - self.begun) / (position - self.at_begin)
            return max(0.0, each * (config.trials - position))

        def tell(self) -> None:
            best, metric = self.best(), config.objective.metric
            parts = [f"trial {number}: epoch {self.epochs[number]}/{epochs}" for number in sorted(self.running)]
            parts += [] if best is None else [f"best: trial {best}, {metric} {figure(metric, self.scores[best])}"]
            reported.update(self.ended, detail="  ".join(parts), seconds_left=self.seconds_left())

        def keep(self) -> None:
            self.written = time.monotonic()
            best = self.best()
            figures = {
                "kind": "sweep",
                "trials": config.trials,
                "ended": self.ended,
                "best": None if best is None else {"trial": best, config.objective.metric: self.scores[best]},
                "seconds_left": self.seconds_left(),
                **asdict(Moment.now()),
            }
            try:
                folder.write(PROGRESS, json.dumps(figures))
            except AttnError as error:  # who asks meanwhile is told less; the sweep goes on
                print(f"the sweep's progress could not be kept: {error}", file=sys.stderr)

    return ProgressCallback()
