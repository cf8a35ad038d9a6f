"""What ended the attempts of a training: whose fault it was, a line in `run.json`, and the tracebacks in the folder."""

from __future__ import annotations

__all__ = ["KeepFailures", "failure_line", "kind_of_failure", "traceback_file"]

import sys
from collections.abc import Iterable, Mapping
from typing import Any

from ray.exceptions import OutOfMemoryError, RayError
from ray.train.v2._internal.exceptions import (
    InsufficientClusterResourcesError,
    RayTrainError,
    WorkerGroupStartupTimeoutError,
)
from ray.train.v2._internal.execution.callback import ControllerCallback, WorkerGroupCallback
from ray.train.v2.api.exceptions import PreemptionError

from attn.errors import AttnError, RunError, StorageAwayError, WorkersLostError
from attn.redaction import without_secrets
from jobs.ray_cluster.progress import Channel
from jobs.runs.attempt_ends import next_attempt, note_end
from jobs.runs.run_folder import RunFolder

TOO_LITTLE = (OutOfMemoryError, InsufficientClusterResourcesError, WorkerGroupStartupTimeoutError)
"""What ends a worker because the machines are too small or too few: it would end so again."""


def traceback_file(attempt: int) -> str:
    """Name of the file in a run's folder with the tracebacks of a failed attempt, which are counted from 1."""
    return f"failures/attempt-{attempt:04d}.txt"


def kind_of_failure(error: BaseException) -> type[AttnError]:
    """The error to raise for one of Ray Train: whether the run would fail again if it went on."""
    return _kind(_failures(error))


def failure_line(error: BaseException) -> str:
    """The last line of the error that ended a worker or the controller."""
    return _line(_failures(error)[0])


class KeepFailures(WorkerGroupCallback, ControllerCallback):
    """Writes what ended an attempt into the run's folder, and tells it; runs in Ray Train's controller."""

    def __init__(self, root: str, run_id: str) -> None:
        self.root, self.run_id, self.kept = root, run_id, False

    def after_worker_group_start(self, worker_group: Any) -> None:
        self.kept = False

    def after_worker_group_poll_status(self, worker_group_status: Any) -> None:
        """Keep the first errors of a group: while a node is being taken away, the controller goes on asking it."""
        if worker_group_status.errors:
            self._keep_once(worker_group_status.errors)

    def after_controller_state_update(self, previous_state: Any, current_state: Any) -> None:
        """Keep the loss of a node that was announced, which may end an attempt without an error of a worker."""
        if isinstance(error := getattr(current_state, "training_failed_error", None), PreemptionError):
            self._keep_once({0: error})

    def _keep_once(self, failures: Mapping[int, Exception]) -> None:
        if self.kept:
            return
        self.kept = True
        try:
            self._keep(failures)
        except (AttnError, TypeError, ValueError) as error:  # the attempt after it is worth more
            print(f"the end of an attempt could not be recorded: {error}", file=sys.stderr)

    def _keep(self, failures: Mapping[int, Exception]) -> None:
        folder = RunFolder(self.root, self.run_id)
        attempt, inner = next_attempt(folder.state()), _in_order(failures.values())
        line, kind = without_secrets(_line(inner[0])), _kind(inner)
        text = "\n".join(f"worker {rank}\n{failure}\n" for rank, failure in sorted(failures.items()))
        folder.write(traceback_file(attempt), without_secrets(text))
        end = note_end(folder, line, None if kind is RunError else kind.code)
        kept = folder.path(traceback_file(attempt))
        message = f"attempt {attempt} ended after epoch {end['epoch']}: {line}; see {kept}"
        Channel(self.run_id).put({"kind": "text", "text": message})


def _kind(failures: list[BaseException]) -> type[AttnError]:
    if any(isinstance(one, StorageAwayError) for one in failures):
        return StorageAwayError
    return WorkersLostError if _is_lost(failures[0]) else RunError


def _failures(error: BaseException) -> list[BaseException]:
    """The errors of the workers or the controller, as they were raised; in front those that explain the others."""
    failures = list((getattr(error, "worker_failures", None) or {}).values())
    return _in_order(failures or [getattr(error, "controller_failure", None) or error])


def _in_order(failures: Iterable[BaseException]) -> list[BaseException]:
    """Without what Ray Train wraps them in; a lost worker first, since the others then lose their connection to it."""
    inner = (getattr(one, "health_check_failure", None) or one for one in failures)
    return sorted((getattr(one, "_base_exc", None) or one for one in inner), key=_is_lost, reverse=True)


def _is_lost(error: BaseException) -> bool:
    return isinstance(error, (RayError, RayTrainError, PreemptionError)) and not isinstance(error, TOO_LITTLE)


def _line(error: BaseException) -> str:
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1].strip()}" if lines else type(error).__name__
