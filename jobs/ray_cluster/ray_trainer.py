"""Ray Train's trainer, which starts only the processes that training here has a use for."""

from __future__ import annotations

__all__ = ["LeanTrainer"]

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import ray
from ray.exceptions import RayError
from ray.train import FailureConfig
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

from jobs.ray_cluster.room import ElasticPolicy, FailurePolicy, FixedPolicy, Room

DATASETS = "DatasetsCallback"
"""Starts a process that hands out shards of Ray Data's data sets, again whenever the workers start."""
CLEANER = "PlacementGroupCleanerCallback"
"""Starts a process that frees the workers' resources when the process that drives them is killed."""
REQUESTS = ("_send_resource_request", "_maybe_send_resource_request", "_cancel_resource_request")
"""Start a process and tell it what is wanted, so that a cluster starts machines for it."""
ABORT_SECONDS = 5.0
"""Time that the controller has to end the workers after Ctrl-C; while it waits for room it does not answer."""


class LeanTrainer(DataParallelTrainer):
    """Ray's data-parallel trainer, which waits for room, and starts three processes less beside the workers.

    Each takes two seconds of a core to import what it needs. Ray Data is not used here, and a session that ends with
    the run frees its resources itself, and has one machine. Ray has no setting for them; if a later Ray renames what is
    left out here, it starts those processes again, and nothing breaks.

    Args:
        run_id: Of the run, whose channel says what it waits for.
        start_timeout: Seconds that it waits for room, whenever its workers start.
        workers_for: Of a run with a range of workers: their number for so much room.
    """

    def __init__(
        self,
        *arguments: Any,
        session_outlives_run: bool,
        run_id: str,
        start_timeout: float,
        workers_for: Callable[[int], int | None],
        **named: Any,
    ) -> None:
        super().__init__(*arguments, **named)
        self.run_id, self.start_timeout, self.workers_for = run_id, start_timeout, workers_for
        self.session_outlives_run = session_outlives_run
        self.unused = {DATASETS} if session_outlives_run else {DATASETS, CLEANER}

    def _create_default_callbacks(self) -> list[Any]:
        return [call for call in super()._create_default_callbacks() if type(call).__name__ not in self.unused]

    def _initialize_and_run_controller(self, **named: Any) -> Any:
        scaling = self.scaling_config
        each: Any = scaling.resources_per_worker or {"CPU": 1}
        room = Room(self.run_id, self.start_timeout, scaling.min_workers, each)
        elastic = scaling.elasticity_enabled
        named["scaling_policy"] = (
            ElasticPolicy(scaling, room, self.workers_for) if elastic else FixedPolicy(scaling, room)
        )
        named["failure_policy"] = FailurePolicy(self.run_config.failure_config or FailureConfig())
        if not self.session_outlives_run:
            for request in REQUESTS:
                setattr(named["scaling_policy"], request, _nobody_is_asked)
        with _sigint_kept():
            return super()._initialize_and_run_controller(**named)

    def _register_sigint_handler(self, controller: Any) -> None:
        """End the run by Ctrl-C, also where the controller waits for room: Ray's handler would wait for it too."""

        def end(number: int, frame: object) -> None:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            with contextlib.suppress(RayError):
                ray.get(controller.abort.remote(), timeout=ABORT_SECONDS)
            with contextlib.suppress(RayError):
                ray.kill(controller)
            raise KeyboardInterrupt

        signal.signal(signal.SIGINT, end)


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
