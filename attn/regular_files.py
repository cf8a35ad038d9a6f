"""Opening files whose author may be anyone: regular files only, and of a bounded size."""

from __future__ import annotations

__all__ = ["Unfit", "open_regular", "read_regular", "too_large"]

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path


class Unfit(OSError):
    """It is there, but nothing to be read: `strerror` says in words what it is."""


def open_regular(path: str | Path) -> BufferedReader:
    """Open a file for reading; never waits for a writer, as a pipe makes one do.

    Raises:
        Unfit: It is a folder, pipe, socket or device.
        OSError: It is missing or may not be read.
        ValueError: The path is none, as with a NUL in it.
    """
    _refuse_others(os.stat(path))  # before it is opened: to open a device may already do something
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        _refuse_others(os.fstat(descriptor))  # it may be another file by now
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: str | Path, most: int) -> bytes:
    """The content of a file.

    Args:
        most: Bytes.

    Raises:
        Unfit: It is no file, or larger than that.
        OSError, ValueError: As `open_regular`.
    """
    with open_regular(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        if size > most:
            raise Unfit(errno.EFBIG, too_large(most))
        content = stream.read(size + 1) or b""
        if len(content) > size:  # it grows, or lies in /proc, where files have no size and may have no end
            content += stream.read(most + 1 - len(content)) or b""
    if len(content) > most:
        raise Unfit(errno.EFBIG, too_large(most))
    return content


def too_large(most: int) -> str:
    """What is wrong with a file of more bytes."""
    limit = f"{most >> 20} MiB" if most >= 1 << 20 else f"{most} bytes"
    return f"has more than {limit}, which is too large for what it is to be"


def _refuse_others(found: os.stat_result) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise Unfit(errno.EISDIR, "is a folder, not a file")
    if not stat.S_ISREG(found.st_mode):
        raise Unfit(errno.EINVAL, "is a pipe, socket or device, not a file")
