"""Tensors written to files, with the disk's own words where it refuses."""

from __future__ import annotations

__all__ = ["save_tensors"]

from pathlib import Path
from typing import Any

import torch

PROBE = bytes(1 << 20)


def save_tensors(value: Any, file: Path) -> None:
    """Write a value as `torch.save` does.

    PyTorch says of a disk that is full only that its archive is not where it should be: what the disk itself says is
    found out by writing on.

    Raises:
        OSError: The file cannot be written.
    """
    try:
        torch.save(value, file)
    except RuntimeError:
        with file.open("ab", buffering=0) as stream:
            while stream.write(PROBE) < len(PROBE):  # the rest of a disk is taken in part, before it refuses
                pass
        raise
