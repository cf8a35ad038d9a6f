"""Where a sweep's processes spend their time: spans around the functions of a trial, written down by each."""

from __future__ import annotations

__all__ = ["FOLDER", "note", "read", "timed_trial", "watch"]

import functools
import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

FOLDER = "ATTN_BENCHMARK_SPANS"
"""Variable that names the folder in which every process leaves a file."""
_local = threading.local()


def note(name: str, begun: float, seconds: float, **more: Any) -> None:
    """Write a span down."""
    line = json.dumps({"name": name, "begun": begun, "seconds": seconds, **more})
    with Path(os.environ[FOLDER], f"{os.getpid()}.jsonl").open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def read(folder: Path) -> list[dict[str, Any]]:
    """All spans of all processes, by their begin."""
    lines = [line for file in folder.glob("*.jsonl") for line in file.read_text(encoding="utf-8").splitlines()]
    return sorted(map(json.loads, lines), key=lambda span: span["begun"])


def watch(holder: Any, attribute: str, name: str) -> None:
    """Let calls of a function be spans; what spans within them take is not counted twice."""
    function: Callable[..., Any] = getattr(holder, attribute)
    if getattr(function, "watched", False):
        return

    @functools.wraps(function)
    def watched(*args: Any, **kwargs: Any) -> Any:
        stack: list[float] = _local.__dict__.setdefault("stack", [])
        begun, wall = time.time(), time.perf_counter()
        stack.append(0.0)
        try:
            return function(*args, **kwargs)
        finally:
            took = time.perf_counter() - wall
            note(name, begun, took - stack.pop(), whole=took)
            if stack:
                stack[-1] += took

    watched.watched = True  # pyright: ignore[reportAttributeAccessIssue]
    setattr(holder, attribute, watched)


def watch_training() -> None:
    """Spans of the training itself, in whichever process it is done."""
    from attn.tracking.mlflow_tracker import MlflowTracker
    from attn.training import classifier
    from attn.training.components import TrainingComponents
    from attn.training.trainer import Trainer
    from jobs.training import worker

    watch(classifier, "build_components", "data and network")
    watch(Trainer, "__init__", "data and network")
    watch(Trainer, "_train_epoch", "training")
    watch(TrainingComponents, "validate", "training")
    watch(Trainer, "_report_step", "step")
    watch(Trainer, "_report_epoch", "checkpoint and report")
    watch(Trainer, "_save", "checkpoint and report")
    watch(worker, "attach", "tracking")
    for method in ("log_metrics", "flush"):
        watch(MlflowTracker, method, "tracking")


def timed_worker(folder: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """`jobs.training.worker.train_worker`, watched."""

    def timed(loop: dict[str, Any]) -> dict[str, Any]:
        begun = time.time()
        os.environ[FOLDER] = folder
        from jobs.training.worker import RayReporter, train_worker

        watch_training()
        watch(RayReporter, "__init__", "tracking")
        try:
            return train_worker(loop)
        finally:
            note("worker", begun, time.time() - begun)

    return timed


def timed_trial(folder: str, *, here: bool) -> type:
    """`jobs.sweeps.trial.Trial`, watched, as a class that pickles by value: a process of Ray's gets it as it is.

    Args:
        here: Whether it trains in its own process, and not by a worker.
    """
    from jobs.sweeps.trial import Trial

    class Timed(Trial):
        def setup(self, config: dict[str, Any]) -> None:
            from attn.tracking.buffered_tracker import BufferedTracker
            from jobs import train
            from jobs.sweeps import trial, trial_training
            from jobs.training import classifier, worker

            os.environ[FOLDER] = folder
            watch_training()
            trial.in_one_process = lambda config: here
            worker.train_worker = timed_worker(folder)
            watch(trial_training.TrialReporter, "__init__", "tracking")
            watch(BufferedTracker, "terminate", "closing")
            watch(trial, "export_model", "model")
            watch(train, "export_model", "model")
            watch(train, "_fit", "Ray Train")
            watch(classifier, "validate", "check of the data")
            note("setup", time.time(), 0.0, number=config["number"])
            super().setup(config)

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            note("setup", time.time(), 0.0, number=new_config["number"])
            return super().reset_config(new_config)

        def _tell(self, epoch: int, metrics: dict[str, float], last: bool) -> None:
            begun = time.time()
            super()._tell(epoch, metrics, last)
            note("turn", begun, time.time() - begun)

    return Timed
