"""Open untrusted files: only regular files, and only up to a maximum size."""

from __future__ import annotations

__all__ = ["UnsuitableFileError", "open_regular", "read_regular", "too_large"]

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path


class UnsuitableFileError(OSError):
    """A path exists but cannot be read as a file; `strerror` says why."""


def open_regular(path: str | Path) -> BufferedReader:
    """Open a regular file for reading. Never blocks, as opening a pipe would.

    Raises:
        UnsuitableFileError: It is a folder, pipe, socket or device.
        OSError: It is missing or cannot be read.
        ValueError: The path is invalid; it contains NUL.
    """
    _refuse_others(os.stat(path))  # before opening: opening a device may have effects
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        _refuse_others(os.fstat(descriptor))  # the path may name another file by now
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: str | Path, max_bytes: int) -> bytes:
    """The content of a regular file.

    Raises:
        UnsuitableFileError: It is not a regular file, or larger than `max_bytes`.
        OSError, ValueError: As `open_regular`.
    """
    with open_regular(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        if size > max_bytes:
            raise UnsuitableFileError(errno.EFBIG, too_large(max_bytes))
        content = stream.read(size + 1) or b""
        if len(content) > size:  # the file grows, or is in /proc, where files have size 0 and may be endless
            content += stream.read(max_bytes + 1 - len(content)) or b""
    if len(content) > max_bytes:
        raise UnsuitableFileError(errno.EFBIG, too_large(max_bytes))
    return content


def too_large(max_bytes: int) -> str:
    """The problem of a file with more than `max_bytes` bytes, for messages."""
    limit = f"{max_bytes >> 20} MiB" if max_bytes >= 1 << 20 else f"{max_bytes} bytes"
    return f"is too large: it has more than {limit}"


def _refuse_others(status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise UnsuitableFileError(errno.EISDIR, "is a folder, not a file")
    if not stat.S_ISREG(status.st_mode):
        raise UnsuitableFileError(errno.EINVAL, "is a pipe, socket or device, not a file")
