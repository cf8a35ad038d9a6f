"""A job's log as it is served: whole lines from any byte on, with secrets covered."""

from __future__ import annotations

__all__ = ["LINE", "read_log"]

import errno
import os
from pathlib import Path

from attn.regular_files import UnsuitableFileError, open_regular
from services.redaction import redact

CHUNK = 1 << 20
LINE = 1 << 16
"""How far before and behind a piece its first and last line are looked for."""


def read_log(path: Path, offset: int, *, ended: bool) -> tuple[bytes, bool]:
    """The log from a byte on, and whether that is all that there is.

    Its secrets are covered as they are in their whole lines, wherever the piece begins. A line that has not ended is
    left for the next time, unless the job has.

    Args:
        ended: Whether the job will write no more; asked before.
    """
    start = max(0, offset - LINE)
    try:
        with open_regular(path) as stream:
            if offset > os.fstat(stream.fileno()).st_size:  # where some file systems let nobody seek
                return b"", ended
            stream.seek(start)
            data = stream.read(offset - start + CHUNK)
            more = bool(stream.peek(1))
    except OSError as error:
        # It has not started, or what lies in its place is no file.
        if isinstance(error, UnsuitableFileError) or error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return b"", ended
        raise
    before = data[: offset - start]
    cut = before.rfind(b"\n") + 1
    data = redact(data[cut:])
    end = len(data) if ended and not more else data.rfind(b"\n") + 1
    if end <= offset - start - cut and len(data) - (offset - start - cut) >= LINE:  # no line is that long
        end = len(data)
    return data[offset - start - cut : end], ended and not more
