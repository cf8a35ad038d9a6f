"""Checkpoints to and from storage. A copy is checked once it is made: one to an object store can fail in silence."""

from __future__ import annotations

__all__ = ["download_checkpoint", "upload_checkpoint"]

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from attn.config.base import is_remote
from attn.errors import RunError
from attn.files import transfer
from jobs.runs.object_file_system import is_object_files

if TYPE_CHECKING:
    from ray.train import Checkpoint


def upload_checkpoint(folder: Path, target: str) -> None:
    """Copy a folder's files, the manifests last, and check that each arrived.

    Args:
        target: A local folder or an `s3://` prefix; files of other ranks may be there already.

    Raises:
        RunError: A file did not arrive whole; names it.
        OSError: A local disk refused.
    """
    names = sorted((path.name for path in folder.iterdir()), key=lambda name: (name.startswith("manifest"), name))
    for name in names:
        if is_remote(target):
            transfer.upload_file(folder / name, f"{target}/{name}")
        else:
            Path(target).mkdir(parents=True, exist_ok=True)
            part = Path(target, f".{name}.part")
            shutil.copyfile(folder / name, part)
            with part.open("rb") as stream:
                os.fsync(stream.fileno())
            part.replace(Path(target, name))
        expected, arrived = (folder / name).stat().st_size, transfer.size(f"{target}/{name}")
        if arrived != expected:
            raise RunError(f"{target}/{name}: {arrived} bytes arrived of {expected}")


def download_checkpoint(checkpoint: Checkpoint, folder: Path) -> Path:
    """A committed checkpoint as a local folder.

    Raises:
        WeightsError: It cannot be read.
    """
    if not is_object_files(checkpoint.filesystem):
        return Path(checkpoint.path)
    return transfer.download_folder(f"s3://{checkpoint.path}", folder)
