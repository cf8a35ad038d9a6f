"""A run is held by the process that drives it, and by no other that was given its number later."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from attn.errors import RunError
from attn.process_identity import process_identity
from attn.run_state import RunState
from jobs.runs.claim import check_ended, process_fields
from jobs.runs.run_folder import RunFolder

OTHER = psutil.Process(os.getppid())
IDENTITY = process_identity(OTHER.pid)


def state(fields: dict[str, object]) -> RunState:
    return RunState.of({"id": "r", **fields})


@pytest.mark.parametrize("kind", ["train", "pipeline", "sweep"])
def test_a_living_process_holds_its_run(tmp_path: Path, kind: str) -> None:
    marks = {"kind": kind, "state": "running", "pid": OTHER.pid, "host": platform.node()}
    folder = RunFolder(str(tmp_path), "r")
    earlier = ({"born": OTHER.create_time()}, {"born": OTHER.create_time() + 1}, {})  # as earlier versions have it
    for noted in ({"process": IDENTITY}, {"process": IDENTITY, "started": 5.0}, *earlier):
        with pytest.raises(RunError, match=f"run 'r' is still running here, as process {OTHER.pid}; end that first"):
            check_ended(folder, state(marks | noted))


@pytest.mark.parametrize("step", [-86400, -1, 1, 86400])
def test_a_step_of_the_clock_lets_no_second_process_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    marks = {"kind": "train", "state": "running", "pid": OTHER.pid, "host": platform.node(), "process": IDENTITY}
    boot = psutil.boot_time()
    monkeypatch.setattr("psutil._pslinux.boot_time", lambda: boot + step)
    with pytest.raises(RunError, match="still running"):
        check_ended(RunFolder(str(tmp_path), "r"), state(marks))


@pytest.mark.parametrize(
    "changed",
    [
        {"process": "another"},
        {"process": None, "born": OTHER.create_time() - 3600},
        {"host": "another machine"},
        {"state": "failed"},
        {"pid": os.getpid()},
        {"pid": None},
        {"pid": 2**22 + 1},
        {"pid": "damaged"},
    ],
    ids=["another process", "earlier version", "elsewhere", "ended", "this process", "none", "gone", "damaged"],
)
def test_what_does_not_hold_a_run(tmp_path: Path, changed: dict[str, object]) -> None:
    marks = {"kind": "train", "state": "running", "pid": OTHER.pid, "host": platform.node()}
    check_ended(RunFolder(str(tmp_path), "r"), state(marks | {"process": IDENTITY} | changed))


def test_an_ended_process_that_none_has_waited_for_holds_no_run(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE) as ended:
        assert ended.stdout is not None
        ended.stdout.read()
        result, identity = psutil.Process(ended.pid), process_identity(ended.pid)
        while result.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
        marks = {"kind": "train", "state": "running", "pid": ended.pid, "host": platform.node()}
        for noted in ({"process": identity}, {"born": result.create_time()}):
            check_ended(RunFolder(str(tmp_path), "r"), state(marks | noted))


def test_marks_are_of_this_process() -> None:
    result = process_fields()
    assert (result["pid"], result["host"]) == (os.getpid(), platform.node())
    assert result["process"] == process_identity(os.getpid()) is not None
