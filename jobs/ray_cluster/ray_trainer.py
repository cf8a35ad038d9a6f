"""Ray Train's trainer, which starts only the processes that training here has a use for."""

from __future__ import annotations

__all__ = ["LeanTrainer"]

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

DATASETS = "DatasetsCallback"
"""Starts a process that hands out shards of Ray Data's data sets, again whenever the workers start."""
CLEANER = "PlacementGroupCleanerCallback"
"""Starts a process that frees the workers' resources when the process that drives them is killed."""
REQUESTS = ("_send_resource_request", "_maybe_send_resource_request", "_cancel_resource_request")
"""Start a process and tell it what is wanted, so that a cluster starts machines for it."""


class LeanTrainer(DataParallelTrainer):
    """Ray's data-parallel trainer without three of the processes that Ray starts beside the workers.

    Each takes two seconds of a core to import what it needs. Ray Data is not used here, and a session that ends with
    the run frees its resources itself, and has one machine. Ray has no setting for them; if a later Ray renames what is
    left out here, it starts those processes again, and nothing breaks.
    """

    def __init__(self, *arguments: Any, session_outlives_run: bool, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.session_outlives_run = session_outlives_run
        self.unused = {DATASETS} if session_outlives_run else {DATASETS, CLEANER}

    def _create_default_callbacks(self) -> list[Any]:
        return [call for call in super()._create_default_callbacks() if type(call).__name__ not in self.unused]

    def _initialize_and_run_controller(self, **named: Any) -> Any:
        if not self.session_outlives_run:
            for request in REQUESTS:
                setattr(named["scaling_policy"], request, _nobody_is_asked)
        with _sigint_kept():
            return super()._initialize_and_run_controller(**named)


@contextlib.contextmanager
def _sigint_kept() -> Iterator[None]:
    """Let Ctrl-C do after the body what it did before: Ray leaves a handler that asks a training of the past to end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL if before is None else before)


def _nobody_is_asked() -> None:
    """In the place of the scaling policy's request for nodes: no machine is added. It is sent to the controller."""
