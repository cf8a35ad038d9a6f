"""Progress of a sweep: a line on stderr for each trial that ends, and figures in its folder for other programs."""

from __future__ import annotations

__all__ = ["PROGRESS", "progress_callback"]

import json
import math
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from attn.display import figure
from attn.errors import AttnError
from attn.runs.sweep import SweepConfig
from jobs.runs.boot_clock import Moment
from jobs.runs.run_folder import RunFolder
from jobs.sweeps.results import Row
from jobs.sweeps.trial_folder import EPOCH, OBJECTIVE, trial_number

PROGRESS = "progress.json"


def progress_callback(config: SweepConfig, folder: RunFolder, rows: Iterable[Row], seconds: float = 2.0) -> Any:
    """A Ray Tune callback that prints each ended trial and writes the sweep's progress file.

    Args:
        rows: Trials that ended before this session.
        seconds: Least time between two writes of the file; it is also written whenever a trial ends.
    """
    from ray.tune import Callback

    class ProgressCallback(Callback):
        def __init__(self) -> None:
            self.before = [row for row in rows if row.ended]
            self.scores = {row.number: row.objective for row in self.before if row.objective is not None}
            self.ended = 0
            self.begun, self.written = time.monotonic(), float("-inf")

        def on_trial_result(
            self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
        ) -> None:
            score = result.get(OBJECTIVE)
            if isinstance(score, float) and math.isfinite(score):
                self.scores[trial_number(str(trial))] = score
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
            print(f"trial {trial_number(str(trial))} of {config.trials} {how}{shown}  {values}", file=sys.stderr)

        def keep(self) -> None:
            self.written = time.monotonic()
            ended = len(self.before) + self.ended
            choose = max if config.objective.mode == "max" else min
            best = choose(self.scores, key=lambda number: self.scores[number], default=None)
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
