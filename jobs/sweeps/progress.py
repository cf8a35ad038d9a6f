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
from jobs.sweeps.results import Row
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
        reported: Counts the trials; one that runs counts by its epochs.
        seconds: Least time between two writes of the file; it is also written whenever a trial ends.
    """
    from ray.tune import Callback

    class ProgressCallback(Callback):
        def __init__(self) -> None:
            self.before = [row for row in rows if row.ended]
            self.scores = {row.number: row.objective for row in self.before if row.objective is not None}
            self.ended = 0
            self.running: dict[int, int] = {}  # epochs by number of the trial
            self.tell()
            self.begun, self.written = time.monotonic(), float("-inf")

        def on_trial_result(
            self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
        ) -> None:
            number, score = trial_number(str(trial)), result.get(OBJECTIVE)
            if isinstance(score, float) and math.isfinite(score):
                self.scores[number] = score
            self.running[number] = int(result.get(EPOCH) or 0)
            self.tell()
            if time.monotonic() - self.written > seconds:
                self.keep()

        def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            self.report(trial, "ended")

        def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            self.scores.pop(trial_number(str(trial)), None)
            self.report(trial, "failed")

        def report(self, trial: Any, how: str) -> None:
            self.ended += 1
            self.keep()
            result, given = trial.last_result or {}, trial.config
            score, metric = result.get(OBJECTIVE), config.objective.metric
            shown = "" if score is None else f"  {figure(metric, score)} after epoch {result.get(EPOCH)}"
            values = ", ".join(f"{name}={given[name]}" for name in given if "." in name)
            number = trial_number(str(trial))
            self.running.pop(number, None)
            self.tell()
            progress.say(f"trial {number} of {config.trials} {how}{shown}  {values}")

        def best(self) -> int | None:
            """The trial with the best score so far."""
            choose = max if config.objective.mode == "max" else min
            return choose(self.scores, key=lambda number: self.scores[number], default=None)

        def tell(self) -> None:
            best, metric = self.best(), config.objective.metric
            parts = [f"trial {number}: epoch {epoch}/{epochs}" for number, epoch in sorted(self.running.items())]
            parts += [] if best is None else [f"best: trial {best}, {metric} {figure(metric, self.scores[best])}"]
            begun = sum(min(epoch / epochs, 1.0) for epoch in self.running.values())
            reported.update(min(len(self.before) + self.ended + begun, config.trials), detail="  ".join(parts))

        def keep(self) -> None:
            self.written = time.monotonic()
            ended, best = len(self.before) + self.ended, self.best()
            each = (time.monotonic() - self.begun) / self.ended if self.ended else None
            figures = {
                "kind": "sweep",
                "trials": config.trials,
                "ended": ended,
                "best": None if best is None else {"trial": best, config.objective.metric: self.scores[best]},
                "seconds_left": None if each is None else each * (config.trials - ended),
                **asdict(Moment.now()),
            }
            try:
                folder.write(PROGRESS, json.dumps(figures))
            except AttnError as error:  # who asks meanwhile is told less; the sweep goes on
                print(f"the sweep's progress could not be kept: {error}", file=sys.stderr)

    return ProgressCallback()
