"""What ends a training: a fault of its own, the loss of its processes, or an object store that is away."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from ray.exceptions import OutOfMemoryError, RayActorError
from ray.train import PreemptionInfo, TrainingFailedError
from ray.train.v2._internal.exceptions import (
    InsufficientClusterResourcesError,
    UserExceptionWithTraceback,
    WorkerGroupStartupTimeoutError,
    WorkerHealthCheckFailedError,
)
from ray.train.v2.api.exceptions import ControllerError, PreemptionError, WorkerGroupError

from attn.errors import AttnError, RunError, StorageAwayError, WorkersLostError, cause_of
from jobs.runs.run_folder import RunFolder
from jobs.training.failures import KeepFailures, kind_of_failure


def raised(error: BaseException) -> UserExceptionWithTraceback:
    """As Ray Train reports an exception of a worker's own code."""
    return UserExceptionWithTraceback(error, traceback_str=f"Traceback ...\n{error}")


LOST = WorkerHealthCheckFailedError("a worker died", RayActorError())
AWAY = raised(StorageAwayError("s3://b/k: the object store cannot be reached"))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (WorkerGroupError("x", {1: LOST}), WorkersLostError),
        (WorkerGroupError("x", {0: WorkerGroupStartupTimeoutError(2)}), RunError),  # the cluster is too small
        (ControllerError(WorkerGroupStartupTimeoutError(2)), RunError),
        (ControllerError(InsufficientClusterResourcesError("no GPU")), RunError),
        (ControllerError(RayActorError()), WorkersLostError),
        (WorkerGroupError("x", {0: AWAY, 1: AWAY}), StorageAwayError),
        (WorkerGroupError("x", {0: AWAY, 1: LOST}), StorageAwayError),
        (ControllerError(StorageAwayError("s3://b/k: away")), StorageAwayError),
        (WorkerGroupError("x", {0: raised(ValueError("a bug"))}), RunError),
        # The other workers lose their connection to the one that was lost.
        (WorkerGroupError("x", {0: raised(RuntimeError("Connection closed by peer")), 1: LOST}), WorkersLostError),
        (WorkerGroupError("x", {0: OutOfMemoryError("killed")}), RunError),
        (ControllerError(ValueError("a bug")), RunError),
    ],
)
def test_whose_fault_it_is(error: TrainingFailedError, expected: type[AttnError]) -> None:
    assert kind_of_failure(error) is expected
    failed = expected("training failed")
    failed.__cause__ = error
    assert cause_of(failed) == {WorkersLostError: "lost", StorageAwayError: "storage", RunError: None}[expected]


@pytest.mark.parametrize(("error", "cause"), [(AWAY, "storage"), (LOST, "lost"), (raised(ValueError("x")), None)])
def test_the_end_of_an_attempt_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, cause: str | None
) -> None:
    told: list[str] = []
    monkeypatch.setattr("jobs.training.failures.Channel.put", lambda self, record: told.append(record["text"]))
    folder = RunFolder(str(tmp_path), "r")
    folder.begin(kind="train", state="running", epoch=3)
    keep = KeepFailures(str(tmp_path), "r")
    keep.after_worker_group_start(None)
    for errors in ({}, {1: error}, {0: ValueError("of a worker that lost its peer"), 1: error}):
        keep.after_worker_group_poll_status(SimpleNamespace(errors=errors))
    folder.update(epoch=4)
    keep.after_worker_group_start(None)
    secret = {0: raised(ValueError("password s3://me:hunter2@host/x"))}
    keep.after_worker_group_poll_status(SimpleNamespace(errors=secret))
    first, second = folder.state().attempt_ends or []
    assert (first["attempt"], first["epoch"], first.get("cause")) == (1, 3, cause)
    assert (second["attempt"], second["epoch"], second.get("cause")) == (2, 4, None)
    assert "ValueError: password" in second["error"]
    kept = folder.read_text("failures/attempt-0001.txt") + folder.read_text("failures/attempt-0002.txt")
    assert kept.startswith(f"worker 1\n{error}")
    assert "Traceback ..." in kept
    assert "hunter2" not in kept + folder.read_text("run.json") + "".join(told)
    assert told[1].startswith("attempt 2 ended after epoch 4: ValueError")


def test_a_folder_that_cannot_be_written_ends_no_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keep = KeepFailures(f"{tmp_path}/none", "r")
    keep.after_worker_group_poll_status(SimpleNamespace(errors={0: ValueError("x")}))
    assert "could not be recorded" in capsys.readouterr().err


def test_a_cause_is_found_below_other_errors() -> None:
    outer = RunError("stage train failed")
    outer.__cause__ = StorageAwayError("away")
    assert cause_of(outer) == "storage"
    assert cause_of(None) is None


def test_a_node_that_is_taken_away_is_said_once_for_an_attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.training.failures.Channel.put", lambda self, record: None)
    folder = RunFolder(str(tmp_path), "r")
    folder.begin(kind="train", state="running")
    keep = KeepFailures(str(tmp_path), "r")
    taken = PreemptionError(PreemptionInfo(deadline_ms=None, preempted_node_to_ranks={"node": [1]}))
    restarting = SimpleNamespace(training_failed_error=taken)
    keep.after_controller_state_update(None, SimpleNamespace())
    keep.after_controller_state_update(None, restarting)
    keep.after_worker_group_start(None)
    keep.after_worker_group_poll_status(SimpleNamespace(errors={1: LOST}))
    keep.after_controller_state_update(None, restarting)
    first, second = folder.state().attempt_ends or []
    assert (first["cause"], second["cause"]) == ("lost", "lost")
    assert "PreemptionError" in first["error"]
    assert "PreemptionError" not in second["error"]
