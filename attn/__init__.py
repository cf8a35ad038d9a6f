"""Attention-guided training of image classifiers, from image-level labels to pixel-level maps."""

from __future__ import annotations

__all__ = ["__version__", "open_model"]

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from attn.trained_model import open_model

__version__ = "0.2.0.dev0"


def __getattr__(name: str) -> Any:
    """Import `open_model` on first use: it needs PyTorch, and `import attn` must stay fast."""
    if name == "open_model":
        return import_module("attn.trained_model").open_model
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
