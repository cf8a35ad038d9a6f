"""A process is the same for as long as it runs, whatever the wall clock says, and never another of its number."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from attn import process_identity as module
from attn.boot_clock import boot_id
from attn.process_identity import created_about, is_running, process_identity

DAY = 86400.0
SetClock = Callable[[float], None]


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A process that runs until it is killed."""
    process = subprocess.Popen(["sleep", "1000"])
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> SetClock:
    """Sets the wall clock by some seconds, as time.time() and psutil see it."""

    def step(seconds: float) -> None:
        wall, boot = time.time, psutil.boot_time()
        monkeypatch.setattr(time, "time", lambda: wall() + seconds)
        monkeypatch.setattr("psutil._pslinux.boot_time", lambda: boot + seconds)

    return step


@pytest.mark.parametrize("seconds", [-DAY, -1.0, 1.0, DAY])
def test_a_step_of_the_clock_makes_no_other_process(
    child: subprocess.Popen[bytes], set_clock: SetClock, seconds: float
) -> None:
    identity, created = process_identity(child.pid), psutil.Process(child.pid).create_time()
    set_clock(seconds)
    assert psutil.Process(child.pid).create_time() == pytest.approx(created + seconds)  # what must not be relied on
    assert is_running(child.pid, identity)
    child.kill()
    while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.005)
    assert not is_running(child.pid, identity)
    assert process_identity(child.pid) is None


def test_another_start_of_the_machine_or_of_the_number_is_another_process() -> None:
    pid, identity = os.getpid(), process_identity(os.getpid())
    assert identity is not None
    boot, _, ticks = identity.partition(":")
    assert boot == boot_id()
    assert int(ticks) == round(psutil.Process().create_time() * 100) - round(psutil.boot_time() * 100)
    for other in (f"{boot}:{int(ticks) + 1}", f"00000000{boot[8:]}:{ticks}", f"created:{ticks}", "", None):
        assert not is_running(pid, other)
    for other in (None, "1", -1, 0, 2**22 + 1, 2**70, 1.5, [pid]):
        assert not is_running(other, identity)


def proc_with(folder: Path, name: str, state: str, ticks: int) -> Path:
    """A `/proc` of one process, 77, whose fields 4 to 21 are all unlike its start."""
    for pid in ("self", "77"):
        (folder / pid).mkdir(parents=True)
        fields = " ".join(str(number) for number in range(4, 22))
        (folder / pid / "stat").write_bytes(f"77 ({name}) {state} {fields} {ticks} 23 24\n".encode())
    return folder


@pytest.mark.parametrize("name", ["python", "a b", "x) Z 1 (y", ")))", "(R) S 1 2 3", "\n", "ä)"])
def test_no_name_hides_when_a_process_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(module, "PROC", proc_with(tmp_path / "sleeps", name, "S", 123456))
    assert process_identity(77) == f"{boot_id()}:123456"
    monkeypatch.setattr(module, "PROC", proc_with(tmp_path / "ended", name, "Z", 123456))
    assert process_identity(77) is None


def test_where_there_is_no_proc_the_time_of_creation_tells(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, child: subprocess.Popen[bytes]
) -> None:
    monkeypatch.setattr(module, "PROC", tmp_path)
    identity = process_identity(child.pid)
    assert identity == f"created:{psutil.Process(child.pid).create_time()!r}"
    assert is_running(child.pid, identity)
    assert not is_running(child.pid, f"{boot_id()}:5")
    assert process_identity(2**22 + 1) is None
    child.kill()
    child.wait()
    assert not is_running(child.pid, identity)


def test_what_an_earlier_version_noted_holds_in_doubt(child: subprocess.Popen[bytes]) -> None:
    created = psutil.Process(child.pid).create_time()
    assert all(created_about(child.pid, noted) for noted in (created, created + 30, None, "unreadable"))
    assert not created_about(child.pid, created - 3600)
    assert not any(created_about(other, created) for other in (2**22 + 1, None, -5, "77"))
