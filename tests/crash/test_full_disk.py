"""A disk that is full: the run stops with one error that names the file and the reason."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from attn.config.recipes import load_config
from attn.config.train import TrainConfig
from attn.errors import RunError
from jobs.train import run

pytestmark = pytest.mark.usefixtures("ray_up")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own that holds a config but no checkpoint."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if os.geteuid() != 0 or mounted.returncode:
        pytest.skip(f"needs the right to mount a file system: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_stops_the_run(small_disk: Path, quick: list[str]) -> None:
    config = load_config(TrainConfig, "scenes_gain", [*quick, f"root={small_disk}", "tracking.enabled=false"])
    with pytest.raises(RunError, match=r"checkpoint epoch-0001.* could not be written to .*No space left on device"):
        run(config, run_id="full")
