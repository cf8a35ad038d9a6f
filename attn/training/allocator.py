"""Setting of the C library's allocator for work on the CPU."""

from __future__ import annotations

__all__ = ["keep_freed_memory"]

import ctypes
import sys

# From glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4


def keep_freed_memory() -> bool:
    """Keep freed large blocks in this process, so that the next step or image can reuse them.

    By default glibc returns each block above 32 MB to the kernel, which clears it again at the next allocation. On the
    CPU a step with larger activations spends a tenth of its time and more on that
    (`benchmarks/step_cost.py --allocator default`). The process then stays as large as its largest step was.

    Returns:
        Whether the C library accepted the setting; only glibc has it.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(_MMAP_MAX, 0)) and bool(mallopt(_TRIM_THRESHOLD, 2**31 - 1))
