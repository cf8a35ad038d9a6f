"""What the machine does not allow, in words: folders that cannot be written or are gone, disks that are full."""

from __future__ import annotations

__all__ = ["SurroundingsError", "check_working_directory", "fault_of_surroundings"]

import errno
import os

from attn.errors import AttnError
from attn.memory import out_of_memory

READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)
EXHAUSTED = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENFILE, errno.ENOMEM)
BROKEN = (errno.EIO, errno.ESTALE, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTCONN)
ELSEWHERE = "choose another place by root=, --root, --out, TMPDIR or HOME"


class SurroundingsError(AttnError):
    """The machine does not allow what is wanted."""

    code = "surroundings"


def check_working_directory() -> None:
    """See that there is one: relative paths mean nothing without, and PyTorch cannot be loaded.

    Raises:
        SurroundingsError: It was removed, or may not be entered.
    """
    try:
        os.getcwd()
    except OSError as error:
        raise SurroundingsError(
            f"the working directory is gone or closed to you ({error.strerror}): cd to one that exists, and try again"
        ) from None


def fault_of_surroundings(error: Exception) -> AttnError | None:
    """The fault that an exception stands for, if it is the machine's and not the program's."""
    if isinstance(error, UnicodeEncodeError) and error.reason == "surrogates not allowed":
        name = error.object.encode("utf-8", "backslashreplace").decode()[:200]
        return SurroundingsError(f"{name!r} is not valid UTF-8, as names of files and classes must be: rename it")
    if isinstance(error, RuntimeError) and "home directory" in str(error):  # as pathlib has it
        return SurroundingsError(f"user {os.getuid()} has no home folder, and HOME is not set: set it to a folder")
    if (lacking := out_of_memory(error)) is not None:
        return lacking
    if not isinstance(error, OSError) or error.errno is None:
        return None
    if isinstance(error, FileNotFoundError) and error.filename is None and "temporary directory" in str(error):
        return SurroundingsError(
            "there is no folder for temporary files that can be written: set TMPDIR to one, on a disk with space"
        )
    place = f"{error.filename}: " if error.filename is not None else ""
    if error.errno in READ_ONLY:
        return SurroundingsError(f"{place}{error.strerror}; {ELSEWHERE}, or change who may write there")
    if error.errno in EXHAUSTED:
        return SurroundingsError(f"{place}{error.strerror}; free some, or {ELSEWHERE}")
    return SurroundingsError(f"{place}{error.strerror}; {ELSEWHERE}") if error.errno in BROKEN else None
