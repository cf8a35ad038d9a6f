"""A sample of the crash matrix, with real, killed processes. `python -m benchmarks.store_crash` runs all of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.store_crash.matrix import GAP


def crash(tmp_path: Path, *options: str) -> dict[str, Any]:
    """Run the command in a process of its own: it forks, and this process has threads of other tests."""
    out = tmp_path / "crash.json"
    command = [sys.executable, "-m", "benchmarks.store_crash", *options, "--json", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(out.read_text())


def test_after_any_kill_the_store_matches_the_surviving_history(tmp_path: Path) -> None:
    result = crash(tmp_path, "--kills", "15", "--seed", "7", "--zombies", "0.3")
    assert result["faults"] == []
    assert sum(result["kills"].values()) >= 15
    assert sum(result["kills"].get(point, 0) for point in GAP) >= 4
    assert sum(result["zombies"].values()) >= 2


def test_on_a_real_server(tmp_path: Path, radosgw: str) -> None:
    assert "AWS_ENDPOINT_URL" in os.environ
    result = crash(tmp_path, "--kills", "3", "--seed", "3", "--uri", f"{radosgw}/crash")
    assert result["faults"] == []
    assert sum(result["kills"].values()) >= 3


def test_the_matrix_detects_a_naive_merge_of_all_files(tmp_path: Path) -> None:
    result = crash(tmp_path, "--kills", "8", "--seed", "1", "--gap", "1", "--zombies", "0", "--naive")
    assert any("wrong maps" in fault for fault in result["faults"])
