"""Progress of a sweep: lines of its trials and their stages, and figures in its folder for other programs."""

from __future__ import annotations

__all__ = ["PROGRESS", "error_of", "progress_callback"]

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
from attn.wording import shorten
from jobs.runs.listing import entry_of
from jobs.runs.run_folder import RunFolder
from jobs.sweeps.results import Row, is_lost
from jobs.sweeps.trial_folder import EPOCH, OBJECTIVE, trial_folder, trial_number

PROGRESS = "progress.json"
LOOK_SECONDS = 5.0
"""Time between two looks into the folders of the trials that run."""
LIFE_SECONDS = 30.0
"""Trials that report nothing new are told about this often, so that a log shows that they still run."""
LONGEST_ERROR = 400
STARTING = "starting"


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
        seconds: Least time between two writes of the file; it is also written whenever a trial ends, or comes to
            something new between two reports: a stage of a pipeline, an epoch of a run with workers of its own.
    """
    from ray.tune import Callback

    class ProgressCallback(Callback):
        def __init__(self) -> None:
            given = list(rows)
            self.scores = {row.number: row.objective for row in given if row.ended and row.objective is not None}
            self.ended = sum(row.ended for row in given)
            self.epochs = {row.number: row.epoch for row in given if not row.ended}
            self.running: set[int] = set()
            self.seen: dict[int, str] = {}
            self.stages: dict[int, str] = {}
            self.begun, self.written = time.monotonic(), float("-inf")
            self.polled = self.reported_at = self.begun
            self.at_begin = self.position()
            self.tell()

        def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
            """Look what the running trials do: some report nothing before their end."""
            now = time.monotonic()
            if now - self.polled < LOOK_SECONDS:
                return
            self.polled = now
            running = [trial_number(str(trial)) for trial in trials if trial.status == "RUNNING"]
            seen = {number: self.look(number) for number in running}
            if seen != self.seen or now - self.reported_at >= LIFE_SECONDS:
                self.seen, self.reported_at = seen, now
                self.tell()
                self.keep()

        def look(self, number: int) -> str:
            """What a trial does, by its folder; a line for each stage of a pipeline that it begins."""
            own = trial_folder(folder, number)
            try:
                state = own.state()
                entry = entry_of(own, state)
            except AttnError:  # it has none yet, or the store does not answer
                return self.seen.get(number, STARTING)
            if entry.driver not in ("here", "elsewhere") or not entry.progress:  # what is left of an earlier attempt
                return STARTING
            stage = state.current_stage
            if stage is not None and self.stages.get(number) != stage.run_id:
                self.stages[number] = stage.run_id
                progress.say(f"trial {number}: {entry.progress.partition(':')[0]}")
            return entry.progress

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
                self.report(trial, "failed", shorten(error_of(folder, trial), LONGEST_ERROR))
                return
            self.running.discard(number)
            self.seen.pop(number, None)
            progress.say(f"trial {number} was lost after epoch {self.epochs.get(number, 0)}")

        def report(self, trial: Any, how: str, why: str = "") -> None:
            number = trial_number(str(trial))
            self.ended += 1
            self.running.discard(number)
            self.epochs.pop(number, None)
            self.seen.pop(number, None)
            self.keep()
            result, given = trial.last_result or {}, trial.config
            score, metric = result.get(OBJECTIVE), config.objective.metric
            shown = "" if score is None else f"  {figure(metric, score)} after epoch {result.get(EPOCH)}"
            values = ", ".join(f"{name}={given[name]}" for name in given if "." in name)
            self.tell()
            said = f"trial {number} {how} ({self.ended} of {config.trials}){shown}  {values}".rstrip()
            progress.say(f"{said}: {why}" if why else said)

        def best(self) -> int | None:
            """The trial with the best score so far; of equal ones the first, as at the sweep's end."""
            choose = max if config.objective.mode == "max" else min
            return choose(sorted(self.scores), key=lambda number: self.scores[number], default=None)

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
            parts = [f"trial {number}: {text}" for number, text in self.doing().items()]
            if not parts and self.ended < config.trials:
                parts = [STARTING]
            parts += [] if best is None else [f"best: trial {best}, {metric} {figure(metric, self.scores[best])}"]
            reported.update(self.ended, detail="  ".join(parts), seconds_left=self.seconds_left())

        def doing(self) -> dict[int, str]:
            """What each trial that runs is at, by its number."""
            reported = {number: f"epoch {self.epochs[number]}/{epochs}" for number in self.running}
            return dict(sorted({**self.seen, **reported}.items()))

        def keep(self) -> None:
            self.written = time.monotonic()
            best = self.best()
            figures = {
                "kind": "sweep",
                "trials": config.trials,
                "ended": self.ended,
                "running": {str(number): text for number, text in self.doing().items()},
                "best": None if best is None else {"trial": best, config.objective.metric: self.scores[best]},
                "seconds_left": self.seconds_left(),
                **asdict(Moment.now()),
            }
            try:
                folder.write(PROGRESS, json.dumps(figures))
            except AttnError as error:  # who asks meanwhile is told less; the sweep goes on
                print(f"the sweep's progress could not be kept: {error}", file=sys.stderr)

    return ProgressCallback()


def error_of(folder: RunFolder, trial: Any) -> str:
    """Why a trial has failed: the error of its run, or else the last line of what Ray Tune was told."""
    try:
        known = trial_folder(folder, trial_number(str(trial))).state().error
    except AttnError:
        known = None
    lines = str(trial.get_error() or "").strip().splitlines() if known is None else []
    return known or (lines[-1] if lines else "its process ended before the trial did")
