"""Save tensors to files, with the operating system's error message if that fails."""

from __future__ import annotations

__all__ = ["save_tensors"]

from pathlib import Path
from typing import Any

import torch

PROBE = bytes(1 << 20)


def save_tensors(value: Any, file: Path) -> None:
    """Write a value with `torch.save`.

    On a full disk PyTorch only reports an unexpected position in its archive. Then this writes on, to get the operating
    system's own error.

    Raises:
        OSError: The file cannot be written.
    """
    try:
        torch.save(value, file)
    except RuntimeError:
        with file.open("ab", buffering=0) as stream:
            while stream.write(PROBE) < len(PROBE):  # a nearly full disk first writes a part
                pass
        raise
