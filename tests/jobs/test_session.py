"""Which processes a Ray session of this machine consists of."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import psutil
import pytest
from ray._private import parameter
from ray._private.parameter import RayParams

from jobs.ray_cluster import session

MONITORS = {"monitor.py", "log_monitor.py"}


def test_a_session_of_this_machine_has_no_process_that_nobody_asks(ray_up: None) -> None:
    programs: set[str] = set()
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it has just ended
            programs |= {Path(word).name for word in process.cmdline()}
    assert "raylet" in programs, "the session is this process's own"
    assert not MONITORS & programs
    assert (RayParams().no_monitor, RayParams().include_log_monitor) == (False, None), "as Ray has them"


def test_a_ray_that_has_renamed_what_is_left_out_starts_all_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    def renamed(**named: Any) -> None:
        raise TypeError("unexpected keyword argument")

    monkeypatch.setattr("ray._private.parameter.RayParams", renamed)
    with session._without_monitors():
        assert parameter.RayParams is renamed
