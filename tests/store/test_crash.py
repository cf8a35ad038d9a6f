"""A sample of the crash matrix: real processes, really killed. `python -m benchmarks.store_crash` runs the whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.store_crash.matrix import GAP


def crash(tmp_path: Path, *options: str) -> dict[str, Any]:
    """What the command found. It forks, which is not for a process with the threads of all other tests."""
    out = tmp_path / "crash.json"
    command = [sys.executable, "-m", "benchmarks.store_crash", *options, "--json", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(out.read_text())


def test_whatever_dies_the_surviving_history_is_what_is_stored(tmp_path: Path) -> None:
    found = crash(tmp_path, "--kills", "15", "--seed", "7", "--zombies", "0.3")
    assert found["faults"] == []
    assert sum(found["kills"].values()) >= 15
    assert sum(found["kills"].get(point, 0) for point in GAP) >= 4
    assert sum(found["zombies"].values()) >= 2


def test_on_a_real_server(tmp_path: Path, radosgw: str) -> None:
    assert "AWS_ENDPOINT_URL" in os.environ
    found = crash(tmp_path, "--kills", "3", "--seed", "3", "--uri", f"{radosgw}/crash")
    assert found["faults"] == []
    assert sum(found["kills"].values()) >= 3


def test_merging_whatever_lies_there_is_seen(tmp_path: Path) -> None:
    found = crash(tmp_path, "--kills", "8", "--seed", "1", "--gap", "1", "--zombies", "0", "--naive")
    assert any("wrong maps" in fault for fault in found["faults"])
