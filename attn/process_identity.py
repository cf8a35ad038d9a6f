"""Which process a number stands for: the kernel gives a number again once its process has ended.

The count of clock ticks from the machine's start to the process's own stays the same for the life of the process. With
the kernel's name for that start of the machine it tells the process from every other one, and no change of the wall
clock moves it. (The time of creation that psutil gives is computed from the wall clock anew each time.)
"""

from __future__ import annotations

__all__ = ["created_about", "is_running", "process_identity"]

from pathlib import Path

import psutil

from attn.boot_clock import boot_id

PROC = Path("/proc")
ENDED = ("Z", "X", "x")
"""States of a process that has ended, of which only the exit status is left."""
TOLERANCE_SECONDS = 60
"""Largest difference in seconds of two readings of a time of creation: the wall clock may be corrected in between."""


def process_identity(pid: int) -> str | None:
    """Text that identifies a process, unlike its number, which is used again; None if no such process runs.

    `BOOT:TICKS`, or `created:SECONDS` on systems without `/proc`, where the time of creation is kept by the kernel.
    """
    if (boot := boot_id()) is None or not (PROC / "self" / "stat").exists():
        return _by_creation(pid)
    try:
        stat = (PROC / str(pid) / "stat").read_bytes()
    except OSError:
        return None
    # `PID (NAME) STATE ...` (man proc_pid_stat): a name may hold blanks and parentheses, the last one is its end.
    fields = stat[stat.rindex(b")") + 1 :].decode("ascii").split()
    state, ticks = fields[0], fields[19]
    return None if state in ENDED else f"{boot}:{ticks}"


def is_running(pid: object, identity: str | None) -> bool:
    """Return whether the process that had this number and identity has not ended."""
    return isinstance(pid, int) and pid > 0 and identity is not None and process_identity(pid) == identity


def created_about(pid: object, created: object) -> bool:
    """Return whether a process of this number runs and, if the time is known, began at about that time.

    For what versions have noted that kept no identity: in doubt, the process is the same.
    """
    if not isinstance(pid, int) or pid <= 0 or process_identity(pid) is None:
        return False
    try:
        now_said = psutil.Process(pid).create_time()
    except psutil.Error:
        return False
    return not isinstance(created, int | float) or abs(now_said - created) < TOLERANCE_SECONDS


def _by_creation(pid: int) -> str | None:
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else f"created:{process.create_time()!r}"
    except (psutil.Error, ValueError):
        return None
