"""What Ray writes over an older file of a run: readers see the old one or the new one, whatever happens meanwhile."""

from __future__ import annotations

import errno
import json
import os
import threading
from pathlib import Path

import pytest
from pyarrow.fs import FileSystem

from jobs.runs.checkpoints import ray_storage


@pytest.fixture
def filesystem(tmp_path: Path) -> FileSystem:
    path, filesystem = ray_storage(str(tmp_path))
    assert path == str(tmp_path)
    return filesystem


def write(filesystem: FileSystem, path: Path, text: str) -> None:
    with filesystem.open_output_stream(str(path)) as stream:
        stream.write(text.encode())


def test_a_reader_beside_a_writer_finds_a_whole_file(filesystem: FileSystem, tmp_path: Path) -> None:
    path, over = tmp_path / "snapshot.json", threading.Event()
    states = [json.dumps({"checkpoint": "x" * length}) for length in (10, 100_000)]
    write(filesystem, path, states[0])

    def go_on() -> None:
        while not over.is_set():
            for state in states:
                write(filesystem, path, state)

    writer = threading.Thread(target=go_on)
    writer.start()
    try:
        seen = {path.read_text() for _ in range(2000)}
    finally:
        over.set()
        writer.join()
    assert seen <= set(states)


def test_a_write_that_was_not_finished_leaves_the_old_file(filesystem: FileSystem, tmp_path: Path) -> None:
    """As after a SIGKILL: what was written until then is not in the file's place."""
    path = tmp_path / "snapshot.json"
    write(filesystem, path, "old")
    stream = filesystem.open_output_stream(str(path))
    stream.write(b"new, and as long as no buffer holds it: " * 100_000)
    assert path.read_text() == "old"
    stream.close()
    assert path.stat().st_size == 4_000_000
    assert [entry.name for entry in tmp_path.iterdir()] == ["snapshot.json"]


def test_a_disk_that_is_full_leaves_the_old_file_and_no_other(
    filesystem: FileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "snapshot.json"
    write(filesystem, path, "old")
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write(filesystem, path, "new")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["snapshot.json"]
