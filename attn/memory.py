"""Turns all out-of-memory errors into one error that says which settings to lower.

Python, NumPy and pyarrow raise `MemoryError`. PyTorch's allocators, C++ and OpenCV raise generic errors that can only
be recognised by their message.
"""

from __future__ import annotations

__all__ = ["OutOfMemoryError", "out_of_memory"]

import re

from attn.errors import AttnError

MESSAGES = re.compile(
    r"not enough memory|can't allocate memory|out of memory|std::bad_alloc|insufficient memory|cannot allocate memory",
    re.IGNORECASE,
)
SIZES = (
    re.compile(r"allocate (?P<size>\d+) bytes"),
    re.compile(r"allocate (?P<size>[\d.]+ [KMGT]iB)"),
)


class OutOfMemoryError(AttnError):
    """A step, an image or a table needs more memory than this process can get."""

    code = "memory"

    def __init__(self, requested: str = "") -> None:
        more = f": an allocation of {requested} failed" if requested else ""
        super().__init__(
            f"out of memory{more}. Lower the batch size (of a training: training.batch_size, and raise "
            "training.accumulate_steps instead; of evaluate and maps: batch_size), input.size, or "
            "cluster.data_workers; for large images, turn the CRF off, or resize them"
        )


def out_of_memory(error: BaseException) -> OutOfMemoryError | None:
    """The `OutOfMemoryError` for an exception, if its cause is a lack of memory; else None."""
    if isinstance(error, OutOfMemoryError):
        return error
    if not isinstance(error, MemoryError) and not (isinstance(error, RuntimeError) or type(error).__module__ == "cv2"):
        return None
    text = str(error)
    if not isinstance(error, MemoryError) and not MESSAGES.search(text):
        return None
    result = next((match for pattern in SIZES if (match := pattern.search(text))), None)
    return OutOfMemoryError("" if result is None else _size(result["size"]))


def _size(text: str) -> str:
    if not text.isdigit():
        return text
    size = int(text)
    return f"{size / (1 << 30):.1f} GiB" if size >= 1 << 30 else f"{size / (1 << 20):.1f} MiB"
