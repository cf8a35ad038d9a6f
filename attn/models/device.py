"""Selection of the device for inference."""

from __future__ import annotations

__all__ = ["choose_device"]

import torch

from attn.errors import RunError


def choose_device(name: str) -> torch.device:
    """The device that `auto`, `cpu` or `gpu` means here.

    Raises:
        RunError: `gpu` was requested and there is none.
    """
    if name == "gpu" and not torch.cuda.is_available():
        raise RunError("device=gpu, but PyTorch sees no GPU here; set device=cpu or device=auto")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")
