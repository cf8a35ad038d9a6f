"""Reads a job's log for clients: whole lines from any byte offset on, with secrets redacted."""

from __future__ import annotations

__all__ = ["LINE", "mark_attempt", "read_log"]

import errno
import os
import time
from pathlib import Path

from attn.regular_files import UnsuitableFileError, open_regular
from services.output_redaction import redact

CHUNK = 1 << 20
LINE = 1 << 16
"""Bytes before and after a piece in which the ends of its first and last line are searched."""


def mark_attempt(path: Path, attempt: int) -> None:
    """Append a line where a later attempt of a job begins, to a log in which an earlier one has written.

    Args:
        attempt: Number of the attempt that begins, from 1.
    """
    try:
        with path.open("rb+") as stream:
            if attempt < 2 or stream.seek(0, os.SEEK_END) == 0:
                return
            stream.seek(-1, os.SEEK_END)
            cut = b"" if stream.read(1) == b"\n" else b"\n"  # the former attempt was killed within a line
            now = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
            stream.write(cut + f"---- attempt {attempt - 1} has ended; attempt {attempt} begins, {now} UTC\n".encode())
    except FileNotFoundError:
        return


def read_log(path: Path, offset: int, *, ended: bool) -> tuple[bytes, bool]:
    """Read a piece of a log, with secrets redacted.

    Whole lines are redacted, wherever the piece begins. An unfinished last line is left for the next call, unless the
    job has ended.

    Args:
        offset: Byte at which the piece begins.
        ended: Whether the job had ended before this call, so that its log is complete.

    Returns:
        The piece, and whether the log ends with it.
    """
    start = max(0, offset - LINE)
    try:
        with open_regular(path) as stream:
            if offset > os.fstat(stream.fileno()).st_size:  # some file systems refuse to seek there
                return b"", ended
            stream.seek(start)
            data = stream.read(offset - start + CHUNK)
            more = bool(stream.peek(1))
    except OSError as error:
        # The job has not started, or the path is not a file.
        if isinstance(error, UnsuitableFileError) or error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return b"", ended
        raise
    before = data[: offset - start]
    cut = before.rfind(b"\n") + 1
    data = redact(data[cut:])
    end = len(data) if ended and not more else data.rfind(b"\n") + 1
    if end <= offset - start - cut and len(data) - (offset - start - cut) >= LINE:  # longer than any line
        end = len(data)
    return data[offset - start - cut : end], ended and not more
