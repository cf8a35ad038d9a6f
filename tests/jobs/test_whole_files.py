"""What Ray writes over an older file of a run: readers see the old one or the new one, whatever happens meanwhile."""

from __future__ import annotations

import errno
import gc
import json
import os
import pickle
import threading
from pathlib import Path

import boto3
import pytest
from pyarrow.fs import FileSystem
from ray.train.v2._internal.execution.storage import (
    StorageContext,
    _exists_at_fs_path,
    _list_at_fs_path,
    delete_fs_path,
)

from attn.files.transfer import write_bytes
from jobs.runs import object_file_system
from jobs.runs.atomic_file_system import whole_files
from jobs.runs.checkpoints import newest_checkpoint_name, ray_storage
from jobs.runs.object_file_system import is_object_files, object_files
from jobs.runs.run_folder import RunFolder


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


class DiskError(Exception): ...


def cut_off(filesystem: FileSystem, path: str) -> None:
    with filesystem.open_output_stream(path) as stream:
        stream.write(b"half")
        raise DiskError


@pytest.mark.parametrize("remote", [False, True], ids=["local", "object store"])
def test_half_a_file_replaces_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, remote: bool) -> None:
    """An error while it is written, or nobody who closes it; one that is written while an error is handled is whole."""
    written: dict[str, bytes] = {}
    monkeypatch.setattr(object_file_system, "write_bytes", written.__setitem__)
    filesystem = object_files() if remote else whole_files()
    folder = "b" if remote else str(tmp_path)

    def content() -> dict[str, bytes]:
        return {Path(name).name: data for name, data in written.items()} if remote else {
            path.name: path.read_bytes() for path in tmp_path.iterdir()
        }  # fmt: skip

    with pytest.raises(DiskError):
        cut_off(filesystem, f"{folder}/x")
    stream = filesystem.open_output_stream(f"{folder}/y")
    stream.write(b"half")
    del stream
    gc.collect()
    assert content() == {}
    try:
        raise DiskError
    except DiskError:
        with filesystem.open_output_stream(f"{folder}/z") as whole:
            whole.write(b"all of it")
    assert content() == {"z": b"all of it"}


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


def test_an_object_store_holds_what_ray_train_writes(s3_server: str) -> None:
    """By Ray's own functions, in another process than the one that made the file system."""
    root = f"{s3_server}/runs/x"
    path, files = ray_storage(root)
    context = StorageContext(path, "checkpoints", pickle.loads(pickle.dumps(files)))
    assert is_object_files(context.storage_filesystem)
    for name in ("epoch-0001/training.pt", "epoch-0001/deep/manifest.json", "epoch-0002/training.pt"):
        write_bytes(f"{root}/checkpoints/{name}", b"weights")
    # pyarrow's file system left such an object for a folder.
    boto3.client("s3").put_object(Bucket="attn-test", Key="runs/x/checkpoints/epoch-0001/", Body=b"")
    place = f"{path}/checkpoints"
    assert sorted(_list_at_fs_path(context.storage_filesystem, place)) == [
        ".validate_storage_marker", "epoch-0001", "epoch-0002",
    ]  # fmt: skip
    delete_fs_path(context.storage_filesystem, f"{place}/epoch-0001")
    assert not _exists_at_fs_path(context.storage_filesystem, f"{place}/epoch-0001")
    assert _exists_at_fs_path(context.storage_filesystem, f"{place}/epoch-0002")
    assert _list_at_fs_path(context.storage_filesystem, f"{place}/none") == []
    with context.storage_filesystem.open_output_stream(context.checkpoint_manager_snapshot_path) as stream:
        stream.write(b'{"latest_checkpoint_result": {"checkpoint_dir_name": "epoch-0002"}}')
    assert newest_checkpoint_name(RunFolder(f"{s3_server}/runs", "x")) == "epoch-0002"
    with context.storage_filesystem.open_input_stream(context.checkpoint_manager_snapshot_path) as stream:
        assert json.loads(stream.readall())
