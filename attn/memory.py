"""Memory that was wanted and is not there, as one error that says what to lower.

Python, NumPy and pyarrow raise `MemoryError` for it; PyTorch's allocators, C++ and OpenCV raise errors that are also
those of a fault of the program, and differ by their text alone.
"""

from __future__ import annotations

__all__ = ["OutOfMemoryError", "out_of_memory"]

import re

from attn.errors import AttnError

SAID = re.compile(
    r"not enough memory|can't allocate memory|out of memory|std::bad_alloc|insufficient memory|cannot allocate memory",
    re.IGNORECASE,
)
WANTED = (
    re.compile(r"allocate (?P<size>\d+) bytes"),
    re.compile(r"allocate (?P<size>[\d.]+ [KMGT]iB)"),
)


class OutOfMemoryError(AttnError):
    """A step, an image or a table takes more memory than this process can have."""

    code = "memory"

    def __init__(self, wanted: str = "") -> None:
        more = f": {wanted} more were wanted at once" if wanted else ""
        super().__init__(
            f"out of memory{more}. Lower what is held at once: the batch (training.batch_size, of a run with "
            "training.accumulate_steps raised in turn; batch_size of evaluate and maps), input.size, or "
            "cluster.data_workers; of large images leave the CRF out, or make them smaller"
        )


def out_of_memory(error: BaseException) -> OutOfMemoryError | None:
    """The error that an exception stands for, if it is that memory ran out."""
    if isinstance(error, OutOfMemoryError):
        return error
    if not isinstance(error, MemoryError) and not (isinstance(error, RuntimeError) or type(error).__module__ == "cv2"):
        return None
    text = str(error)
    if not isinstance(error, MemoryError) and not SAID.search(text):
        return None
    found = next((match for pattern in WANTED if (match := pattern.search(text))), None)
    return OutOfMemoryError("" if found is None else _size(found["size"]))


def _size(text: str) -> str:
    if not text.isdigit():
        return text
    size = int(text)
    return f"{size / (1 << 30):.1f} GiB" if size >= 1 << 30 else f"{size / (1 << 20):.1f} MiB"
