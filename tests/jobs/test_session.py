"""Which processes a Ray session of this machine consists of."""

from __future__ import annotations

import contextlib
from pathlib import Path

import psutil
from ray._private.parameter import RayParams

MONITORS = {"monitor.py", "log_monitor.py"}


def test_a_session_of_this_machine_has_no_process_that_nobody_asks(ray_up: None) -> None:
    programs: set[str] = set()
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it has just ended
            programs |= {Path(word).name for word in process.cmdline()}
    assert "raylet" in programs, "the session is this process's own"
    assert not MONITORS & programs
    assert (RayParams().no_monitor, RayParams().include_log_monitor) == (False, None), "as Ray has them"
