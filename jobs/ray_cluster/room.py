"""Waiting for room on a cluster: for how long a run waits until its workers can start, and what it tells meanwhile."""

from __future__ import annotations

__all__ = ["ONE_WAIT_SECONDS", "ElasticPolicy", "FailurePolicy", "FixedPolicy", "NoRoomError", "Room", "room_text"]

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from ray.train.v2._internal.exceptions import WorkerGroupStartupTimeoutError
from ray.train.v2._internal.execution.failure_handling import DefaultFailurePolicy, FailureDecision
from ray.train.v2._internal.execution.scaling_policy import (
    ElasticScalingPolicy,
    FixedScalingPolicy,
    NoopDecision,
    ResizeDecision,
    ScalingDecision,
)
from ray.train.v2.api.config import ScalingConfig

from attn.errors import RunError
from attn.wording import counted
from jobs.ray_cluster.progress import Channel

POLL_SECONDS = 1.0
TELL_SECONDS = 5.0
"""A wait that is shorter is not said: the workers of an attempt that has ended take a moment to free what they held."""
ONE_WAIT_SECONDS = 30.0
"""A run with a range of workers waits so long for a number of them; then it looks again for how many there is room."""
SAVE_SECONDS = 600.0
"""A run that has not saved a checkpoint so long after it was asked does not grow now."""
ROUNDING = 1e-6


class NoRoomError(RunError):
    """A cluster has had no room for the workers of a run for as long as the run may wait."""


class FailurePolicy(DefaultFailurePolicy):
    """Ray's policy, for which workers that found no room are no failure: the scaling policy says how long they wait."""

    def make_decision(self, training_failed_error: Any) -> FailureDecision:
        failure = getattr(training_failed_error, "controller_failure", None)
        if isinstance(failure, WorkerGroupStartupTimeoutError):
            return FailureDecision.RETRY
        return super().make_decision(training_failed_error)


class Room:
    """Waits for room up to `start_timeout`, whenever workers start; used in Ray Train's controller.

    Args:
        run_id: Of the run, whose channel gets records of the kind `waiting`: `text` says what is lacking, and is empty
            once there is room.
        start_timeout: Seconds.
        workers, each: How many workers the run needs at least, and the resources of each.
    """

    def __init__(self, run_id: str, start_timeout: float, workers: int, each: Mapping[str, float]) -> None:
        self.run_id, self.start_timeout, self.needed = run_id, start_timeout, (workers, each)
        self.wait: _Wait | None = None

    def find(self, decide: Callable[[], ScalingDecision]) -> ScalingDecision:
        """The first decision to start workers.

        Raises:
            NoRoomError: The run has waited long enough since workers ran last.
        """
        if self.wait is None:
            self.wait = _Wait(self.run_id, self.needed)
        while self.wait.seconds < self.start_timeout:
            decision = decide()
            self.wait.short = not isinstance(decision, ResizeDecision)
            if not self.wait.short:
                return decision
            time.sleep(POLL_SECONDS)  # Ray would ask again at once, with a whole core
        text = _now(*self.needed)
        self.wait.end()
        raise NoRoomError(
            f"it has waited for room for cluster.start_timeout={self.start_timeout:g} s, and {text}: raise "
            "cluster.start_timeout, use fewer workers, or end other runs of the cluster"
        )

    def end_wait(self) -> None:
        """The workers run."""
        if self.wait is not None:
            self.wait.end()
            self.wait = None


class FixedPolicy(FixedScalingPolicy):
    """A number of workers."""

    def __init__(self, scaling_config: ScalingConfig, room: Room) -> None:
        super().__init__(scaling_config)
        self.room = room

    def make_decision_for_non_running_worker_group(self) -> ScalingDecision:
        return self.room.find(super().make_decision_for_non_running_worker_group)

    def make_decision_for_running_worker_group(
        self, worker_group_state: Any, worker_group_status: Any
    ) -> ScalingDecision:
        self.room.end_wait()
        return super().make_decision_for_running_worker_group(worker_group_state, worker_group_status)


class ElasticPolicy(ElasticScalingPolicy):
    """As many workers as there is room for, of the numbers that a run permits.

    Ray's policy counts what the nodes have, whoever holds it, and starts other workers in the midst of an epoch, with
    the loss of all steps since the last checkpoint. This one counts what is free, and asks for a checkpoint first.

    Args:
        workers_for: The number of workers for so much room, or None.
    """

    def __init__(self, scaling_config: ScalingConfig, room: Room, workers_for: Callable[[int], int | None]) -> None:
        super().__init__(scaling_config)
        self.room, self.workers_for = room, workers_for
        self.held = Counter[str]()
        """Workers of the group that is there, by the node."""
        self.tried: int | None = None
        """Number of workers that were to start and have not run yet."""
        self.asked_at, self.saved = float("-inf"), False
        self.growth: ResizeDecision | None = None

    def make_decision_for_non_running_worker_group(self) -> ScalingDecision:
        self.growth = None
        decision = self.room.find(super().make_decision_for_non_running_worker_group)
        self.tried = decision.num_workers if isinstance(decision, ResizeDecision) else None
        return decision

    def make_decision_for_running_worker_group(
        self, worker_group_state: Any, worker_group_status: Any
    ) -> ScalingDecision:
        self.room.end_wait()
        self.tried = None
        self.held = Counter(worker.metadata.node_id for worker in worker_group_state.workers)
        if self.growth is not None:
            return self._after_checkpoint(self.growth)
        decision = super().make_decision_for_running_worker_group(worker_group_state, worker_group_status)
        if isinstance(decision, ResizeDecision) and decision.num_workers > worker_group_state.num_workers:
            self.growth, self.saved, self.asked_at = decision, False, time.monotonic()
            Channel(self.room.run_id).ask_to_save()
        return NoopDecision()

    def before_controller_execute_resize_decision(self, resize_decision: ResizeDecision) -> None:
        self.held.clear()  # the controller ends the group next, and starts another

    def _after_checkpoint(self, growth: ResizeDecision) -> ScalingDecision:
        """Grow once the controller has seen the checkpoint, one turn after the workers say that they reported it."""
        if self.saved:
            self.growth = None
            return growth
        self.saved = not Channel(self.room.run_id).asked_to_save()
        if not self.saved and time.monotonic() - self.asked_at > SAVE_SECONDS:
            self.growth = None
        return NoopDecision()

    def _count_possible_workers(self, reserved_resources: Mapping[str, Mapping[str, float]]) -> int:
        each = self.room.needed[1]
        room = sum(
            min(int(free.get(name, 0) / number + ROUNDING) for name, number in each.items() if number)
            for free in reserved_resources.values()
        )
        below = None if self.tried is None else self.workers_for(min(room, self.tried - 1))
        return below or self.workers_for(room) or 0

    def _get_reserved_resources(self) -> dict[str, dict[str, float]]:
        """What is free on each node; the group that is there is ended before another starts, so it counts as free."""
        from ray._private.state import available_resources_per_node

        free: dict[str, dict[str, float]] = {
            node: dict(resources) for node, resources in available_resources_per_node().items()
        }
        for node, workers in self.held.items():
            for name, number in self.room.needed[1].items():
                if node in free:
                    free[node][name] = free[node].get(name, 0) + workers * number
        return free


class _Wait:
    """A wait for room, and a thread that tells it while it lasts."""

    def __init__(self, run_id: str, needed: tuple[int, Mapping[str, float]]) -> None:
        self.run_id, self.needed, self.begun, self.short = run_id, needed, time.monotonic(), False
        self.over = threading.Event()
        threading.Thread(target=self._tell, name="attn-room", daemon=True).start()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.begun

    def end(self) -> None:
        self.over.set()

    def _tell(self) -> None:
        channel, status = Channel(self.run_id), ""
        channel.mark_waiting()
        self.over.wait(TELL_SECONDS)
        while not self.over.wait(POLL_SECONDS):
            text = f"waiting for room: {_now(*self.needed)}" if self.short or _is_pending() else ""
            if text != status:
                channel.put({"kind": "waiting", "text": text})
                status = text
        if status:
            channel.put({"kind": "waiting", "text": ""})


def _is_pending() -> bool:
    """Whether a placement group of this driver waits for room; the number of its job ends a group's own number."""
    import ray

    job = ray.get_runtime_context().get_job_id()
    groups: dict[str, dict[str, Any]] = ray.util.placement_group_table()
    return any(name.endswith(job) and group["state"] in ("PENDING", "RESCHEDULING") for name, group in groups.items())


def _now(workers: int, each: Mapping[str, float]) -> str:
    import ray

    return room_text(workers, each, ray.available_resources(), ray.cluster_resources())


def room_text(workers: int, each: Mapping[str, float], free: Mapping[str, float], there: Mapping[str, float]) -> str:
    """What workers need, and what a cluster has of it, in words.

    Args:
        each: Resources of one worker.
        free, there: Those of the cluster that nobody holds, and all of them.
    """
    wanted = {name: number for name, number in each.items() if number}
    need = " and ".join(f"{number:g} {name}{'s' if number > 1 else ''}" for name, number in wanted.items())
    has = " and ".join(f"{free.get(name, 0):g} of {there.get(name, 0):g} {name}s free" for name in wanted)
    return f"the run needs {counted(workers, 'worker')} of {need} each, and the cluster has {has}"
