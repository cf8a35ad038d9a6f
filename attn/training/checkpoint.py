"""Checkpoints: folders whose every file is listed with its SHA-256, and that load only if all of it is there.

Each rank writes its own files and its own list, because each uploads for itself. Nothing in a checkpoint is unpickled
beyond tensors and plain values.
"""

from __future__ import annotations

__all__ = ["Position", "load_checkpoint", "save_checkpoint", "verify_folder", "write_manifest"]

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from attn.data.files import sha256_of
from attn.errors import WeightsError
from attn.tensor_files import save_tensors

SHARED_FILE = "training.pt"


@dataclass(frozen=True)
class Position:
    """Where in the run a checkpoint stands: the next batch to train on.

    Attributes:
        epoch: Counted from 0; equals the number of epochs where the run is complete.
        batch: The next batch of the epoch, in micro-batches.
        step: Optimiser steps done since the start of the run.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0


def _rank_file(rank: int) -> str:
    return f"rank-{rank:05d}.pt"


def _manifest_file(rank: int) -> str:
    return f"manifest-{rank:05d}.json"


def write_manifest(folder: Path, rank: int) -> dict[str, Any]:
    """List every file of a folder with its size and SHA-256, in the folder."""
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    files = {name: {"bytes": (folder / name).stat().st_size, "sha256": sha256_of(folder / name)} for name in names}
    manifest = {"files": files}
    (folder / _manifest_file(rank)).write_text(json.dumps(manifest, indent=1))
    return manifest


def verify_folder(folder: Path, rank: int) -> None:
    """Check every file that a rank's manifest lists.

    Raises:
        WeightsError: The manifest or a file is missing, or a file is not what was written; names it.
    """
    path = folder / _manifest_file(rank)
    try:
        files = json.loads(path.read_text())["files"]
    except (OSError, ValueError, KeyError):
        raise WeightsError(
            f"checkpoint {folder} has no readable {path.name}: it was not written to its end; resume from an older one"
        ) from None
    for name, entry in files.items():
        part = folder / name
        if not part.is_file() or part.stat().st_size != entry["bytes"] or sha256_of(part) != entry["sha256"]:
            state = "is damaged" if part.exists() else "is missing"
            raise WeightsError(f"checkpoint {folder}: {name} {state}; resume from an older one")


def save_checkpoint(
    folder: Path, position: Position, shared: dict[str, Any], own: dict[str, Any], rank: int, world: int
) -> None:
    """Write this rank's share of a checkpoint into an empty folder.

    Args:
        shared: What is equal on all ranks (weights, optimiser); rank 0 writes it.
        own: What is this rank's alone (states of its random generators).
    """
    if rank == 0:
        save_tensors({**shared, "position": asdict(position), "world": world}, folder / SHARED_FILE)
    save_tensors(own, folder / _rank_file(rank))
    write_manifest(folder, rank)


def load_checkpoint(folder: Path, rank: int, world: int) -> tuple[Position, dict[str, Any], dict[str, Any] | None]:
    """Read a checkpoint, verified.

    Returns:
        The position, the shared part, and this rank's own part: None where the checkpoint was written by another
        number of workers, whose random states would mean nothing here.

    Raises:
        WeightsError: A file is missing or damaged.
    """
    verify_folder(folder, 0)
    shared = torch.load(folder / SHARED_FILE, map_location="cpu", weights_only=True)
    own = None
    if shared["world"] == world:
        verify_folder(folder, rank)
        own = torch.load(folder / _rank_file(rank), map_location="cpu", weights_only=True)
    return Position(**shared["position"]), shared, own
