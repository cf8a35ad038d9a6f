"""Temporary folders: gone when their process is done, and gone with the next one where it was killed."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from attn.scratch import GRACE_SECONDS, PREFIX, scratch_folder

KILLED = """
import os, signal, tempfile, sys
tempfile.tempdir = sys.argv[1]
from attn.scratch import scratch_folder
with scratch_folder() as folder:
    (folder / "weights").write_text("x")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def age(folder: Path) -> None:
    then = time.time() - 2 * GRACE_SECONDS
    os.utime(folder, (then, then))


def test_a_folder_is_gone_after_use_and_after_an_error(place: Path) -> None:
    with scratch_folder() as folder:
        (folder / "a").mkdir()
    with pytest.raises(ValueError, match="x"), scratch_folder():
        raise ValueError("x")
    assert not list(place.iterdir())


def test_what_a_killed_process_left_is_removed_and_nothing_else(place: Path) -> None:
    assert subprocess.run([sys.executable, "-c", KILLED, str(place)], timeout=60, check=False).returncode == -9
    (left,) = place.iterdir()
    others = [place / "mine", place / f"{PREFIX}file"]
    others[0].mkdir()
    others[1].write_text("no folder")
    (place / "target").mkdir()
    (place / "target" / "kept").write_text("kept")
    (place / f"{PREFIX}link").symlink_to(place / "target")
    with scratch_folder():
        assert left.is_dir()  # for its maker might be about to take it
    age(left)
    with scratch_folder() as in_use:
        age(in_use)
        assert not left.exists()
        with scratch_folder():
            assert in_use.is_dir()
    assert all(other.exists() for other in others)
    assert (place / "target" / "kept").read_text() == "kept"
