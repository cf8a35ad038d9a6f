"""Local files that are there as a whole or not at all, for what Ray writes in place.

Ray Train writes the list of a run's checkpoints over the last one at each report. A worker that reads it at that moment
would find it empty, and so would whoever resumes a run whose driver was killed then.
"""

from __future__ import annotations

__all__ = ["whole_files"]

import contextlib
import io
import os
import secrets
from typing import Any

from fsspec.implementations.local import LocalFileSystem
from pyarrow.fs import FSSpecHandler, PyFileSystem

from jobs.runs.cut_off import Since


def whole_files() -> PyFileSystem:
    """The local file system; a file that is written whole replaces the old one when it is closed."""
    return PyFileSystem(FSSpecHandler(_WholeFiles()))


class _WholeFiles(LocalFileSystem):
    def _open(self, path: str, mode: str = "rb", block_size: int | None = None, **options: Any) -> Any:
        return _Part(path) if mode == "wb" else super()._open(path, mode, block_size, **options)


class _Part(io.BufferedWriter):
    """A file beside its place, moved there by `close` once all of it is on the disk.

    One that an error has cut off, or that nobody closed, is removed.
    """

    def __init__(self, path: str) -> None:
        self.opened = Since()
        folder, name = os.path.split(path)
        self.path, self.part = path, os.path.join(folder, f".{name}.{secrets.token_hex(8)}.part")
        super().__init__(io.FileIO(self.part, "w"))

    def close(self) -> None:
        if self.closed:
            return
        if self.opened.raised:
            self._remove()
            return
        try:
            self.flush()
            os.fsync(self.fileno())
            os.replace(self.part, self.path)
        except BaseException:
            os.unlink(self.part)
            raise
        finally:
            self.raw.close()

    def __del__(self) -> None:
        with contextlib.suppress(ValueError):  # it could not even be opened
            if not self.closed:
                self._remove()

    def _remove(self) -> None:
        self.raw.close()
        os.unlink(self.part)
