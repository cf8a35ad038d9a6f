"""What the C library does with memory that a step has given back."""

from __future__ import annotations

__all__ = ["keep_freed_memory"]

import ctypes
import sys

# From glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4


def keep_freed_memory() -> bool:
    """Let this process keep large blocks that it has freed, for the next step to use.

    By itself glibc hands each block above 32 MB back to the kernel and has it cleared again at the next allocation: a
    training step on the CPU whose activations are larger spends a tenth of its time and more so
    (`benchmarks/step_cost.py --allocator default`). The process then stays as large as its largest step was.

    Returns:
        Whether the C library took the setting; others than glibc do not know it.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(_MMAP_MAX, 0)) and bool(mallopt(_TRIM_THRESHOLD, 2**31 - 1))
