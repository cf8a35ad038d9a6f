"""Checkpoints of training loops without a job around them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


def keep(target: Path, rank: int, write: Callable[[Path], None]) -> None:
    """Put one rank's share of a checkpoint into its folder, beside those of the others, as a job would."""
    scratch = target.with_name(f"part-{rank}")
    scratch.mkdir(parents=True)
    write(scratch)
    target.mkdir(exist_ok=True)
    for path in scratch.iterdir():
        path.replace(target / path.name)
    scratch.rmdir()
