"""What ends a training: a fault of its own, the loss of its processes, or an object store that is away."""

from __future__ import annotations

import pytest
from ray.exceptions import OutOfMemoryError, RayActorError
from ray.train import TrainingFailedError
from ray.train.v2._internal.exceptions import (
    UserExceptionWithTraceback,
    WorkerGroupStartupTimeoutError,
    WorkerHealthCheckFailedError,
)
from ray.train.v2.api.exceptions import ControllerError, WorkerGroupError

from attn.errors import AttnError, RunError, StorageAwayError, WorkersLostError, cause_of
from jobs.train import _kind


def raised(error: BaseException) -> UserExceptionWithTraceback:
    """As Ray Train reports an exception of a worker's own code."""
    return UserExceptionWithTraceback(error, traceback_str=f"Traceback ...\n{error}")


LOST = WorkerHealthCheckFailedError("a worker died", RayActorError())
AWAY = raised(StorageAwayError("s3://b/k: the object store cannot be reached"))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (WorkerGroupError("x", {1: LOST}), WorkersLostError),
        (WorkerGroupError("x", {0: WorkerGroupStartupTimeoutError(2)}), WorkersLostError),
        (ControllerError(RayActorError()), WorkersLostError),
        (WorkerGroupError("x", {0: AWAY, 1: AWAY}), StorageAwayError),
        (WorkerGroupError("x", {0: AWAY, 1: LOST}), StorageAwayError),
        (ControllerError(StorageAwayError("s3://b/k: away")), StorageAwayError),
        (WorkerGroupError("x", {0: raised(ValueError("a bug"))}), RunError),
        (WorkerGroupError("x", {0: raised(ValueError("a bug")), 1: LOST}), RunError),
        (WorkerGroupError("x", {0: OutOfMemoryError("killed")}), RunError),
        (ControllerError(ValueError("a bug")), RunError),
    ],
)
def test_whose_fault_it_is(error: TrainingFailedError, expected: type[AttnError]) -> None:
    assert _kind(error) is expected
    failed = expected("training failed")
    failed.__cause__ = error
    assert cause_of(failed) == {WorkersLostError: "lost", StorageAwayError: "storage", RunError: None}[expected]


def test_a_cause_is_found_below_other_errors() -> None:
    outer = RunError("stage train failed")
    outer.__cause__ = StorageAwayError("away")
    assert cause_of(outer) == "storage"
    assert cause_of(None) is None
