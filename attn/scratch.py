"""Folders for what a process needs for a while: removed when it is done, and by the next one where it was killed."""

from __future__ import annotations

__all__ = ["scratch_folder"]

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Generator
from pathlib import Path

PREFIX = "attn-scratch-"
YOUNG_S = 60.0
"""Seconds for which a folder without a lock is left alone: its maker may be about to take it."""


@contextlib.contextmanager
def scratch_folder() -> Generator[Path]:
    """A new folder among the temporary files.

    Its maker holds a lock on it, which ends with the process, however that ends: a process of any container that shares
    the place can tell what is of use to nobody, and removes it here.
    """
    place = Path(tempfile.gettempdir())
    _remove_abandoned(place)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):  # a file system without locks: then nobody else can take it either
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def _remove_abandoned(place: Path) -> None:
    for folder in place.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # it is another user's, no folder, in use, or gone
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                status = os.fstat(descriptor)
                if status.st_uid == os.getuid() and time.time() - status.st_mtime > YOUNG_S:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)
