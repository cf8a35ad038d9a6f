"""Turns errors of the machine into clear messages: folders that cannot be written or are gone, full disks."""

from __future__ import annotations

__all__ = ["SurroundingsError", "check_working_directory", "fault_of_surroundings"]

import errno
import os

from attn.errors import AttnError
from attn.memory import out_of_memory

READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)
EXHAUSTED = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENFILE, errno.ENOMEM)
BROKEN = (errno.EIO, errno.ESTALE, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTCONN)
ELSEWHERE = "choose another folder with --root, --out, TMPDIR or HOME"


class SurroundingsError(AttnError):
    """The machine does not permit an operation."""

    code = "surroundings"


def check_working_directory() -> None:
    """Check that the working directory exists; relative paths and the import of PyTorch need one.

    Raises:
        SurroundingsError: It was removed, or cannot be entered.
    """
    try:
        os.getcwd()
    except OSError as error:
        raise SurroundingsError(
            f"the working directory cannot be used ({error.strerror}): cd to one that exists, and try again"
        ) from None


def fault_of_surroundings(error: Exception) -> AttnError | None:
    """The error to show if an exception is caused by the machine and not by the program; else None."""
    if isinstance(error, UnicodeEncodeError) and error.reason == "surrogates not allowed":
        name = error.object.encode("utf-8", "backslashreplace").decode()[:200]
        return SurroundingsError(f"{name!r} is not valid UTF-8, as names of files and classes must be: rename it")
    if isinstance(error, RuntimeError) and "home directory" in str(error):  # raised by pathlib
        return SurroundingsError(f"user {os.getuid()} has no home folder, and HOME is not set: set it to a folder")
    if (lacking := out_of_memory(error)) is not None:
        return lacking
    if not isinstance(error, OSError) or error.errno is None:
        return None
    if isinstance(error, FileNotFoundError) and error.filename is None and "temporary directory" in str(error):
        return SurroundingsError(
            "no folder for temporary files is writable: set TMPDIR to one, on a disk with free space"
        )
    file = f"{error.filename}: " if error.filename is not None else ""
    if error.errno in READ_ONLY:
        return SurroundingsError(f"{file}{error.strerror}; {ELSEWHERE}, or change its permissions")
    if error.errno in EXHAUSTED:
        return SurroundingsError(f"{file}{error.strerror}; free some, or {ELSEWHERE}")
    return SurroundingsError(f"{file}{error.strerror}; {ELSEWHERE}") if error.errno in BROKEN else None
