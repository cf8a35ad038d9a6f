"""Checkpoints: folders with a list of all files and their SHA-256. One loads only if every file is intact.

Each rank writes and uploads its own files and its own list. Only tensors and plain values are unpickled.
"""

from __future__ import annotations

__all__ = ["Position", "load_checkpoint", "load_shared", "save_checkpoint", "verify_folder", "write_manifest"]

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch

from attn.data.names import name_fault
from attn.errors import WeightsError
from attn.files.locations import sha256_of
from attn.files.tensors import save_tensors
from attn.parsing import load_json
from attn.regular_files import read_regular
from attn.training.selection import best_of, plateau_of

SHARED_FILE = "training.pt"
MOST_MANIFEST = 1 << 20
"""Bytes; a manifest lists two files."""


@dataclass(frozen=True)
class Position:
    """The next batch to train on.

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
        listed = load_json(read_regular(path, MOST_MANIFEST))["files"]
        entries = [(str(name), entry["bytes"], entry["sha256"]) for name, entry in listed.items()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise WeightsError(
            f"checkpoint {folder} has no readable {path.name}: it was not written to its end; resume from an older one"
        ) from None
    required = {_rank_file(rank), *((SHARED_FILE,) if rank == 0 else ())}
    if lacking := sorted(required - {name for name, _, _ in entries}):
        raise WeightsError(f"checkpoint {folder}: {path.name} does not list {lacking[0]}; resume from an older one")
    for name, size, sha256 in entries:
        if name_fault(name) or "/" in name:
            raise WeightsError(f"checkpoint {folder}: {path.name} lists {name[:80]!r}, which is no file's name")
        file = folder / name
        if not file.is_file() or file.stat().st_size != size or sha256_of(file) != sha256:
            state = "is damaged" if file.exists() else "is missing"
            raise WeightsError(f"checkpoint {folder}: {name} {state}; resume from an older one")


def save_checkpoint(
    folder: Path, position: Position, shared: dict[str, Any], own: dict[str, Any], rank: int, world: int
) -> None:
    """Write this rank's share of a checkpoint into an empty folder.

    Args:
        shared: Values that are equal on all ranks (weights, optimiser); rank 0 writes them.
        own: Values of this rank (states of its random generators).
    """
    if rank == 0:
        save_tensors({**shared, "position": asdict(position), "world": world}, folder / SHARED_FILE)
    save_tensors(own, folder / _rank_file(rank))
    write_manifest(folder, rank)


def load_checkpoint(folder: Path, rank: int, world: int) -> tuple[Position, dict[str, Any], dict[str, Any] | None]:
    """Read a checkpoint, verified.

    Returns:
        The position, the shared values, and this rank's own: None if another number of workers wrote the checkpoint,
        because their random states do not apply here.

    Raises:
        WeightsError: A file is missing or damaged.
    """
    verify_folder(folder, 0)
    position, shared = load_shared(folder)
    own = None
    if shared["world"] == world:
        verify_folder(folder, rank)
        own = _load(folder / _rank_file(rank))
    return position, shared, own


def load_shared(folder: Path) -> tuple[Position, dict[str, Any]]:
    """The position and the shared values of a verified checkpoint.

    Raises:
        WeightsError: It is no checkpoint.
    """
    shared = _load(folder / SHARED_FILE)
    position, model = shared.get("position"), shared.get("model")
    if (
        not isinstance(position, dict)
        or set(position) != {field.name for field in fields(Position)}
        or any(type(value) is not int or value < 0 for value in position.values())
        or type(shared.get("world")) is not int
    ):
        raise WeightsError(f"checkpoint {folder}: {SHARED_FILE} does not say where in the run it stands; "
                           "resume from an older one")  # fmt: skip
    if not isinstance(model, dict) or not all(isinstance(value, torch.Tensor) for value in model.values()):
        raise WeightsError(f"checkpoint {folder}: {SHARED_FILE} holds no weights; resume from an older one")
    try:
        for read in (best_of, plateau_of):
            read(shared)
    except ValueError:
        raise WeightsError(f"checkpoint {folder}: {SHARED_FILE} does not say which epoch is the best one, or for how "
                           "long none has been better; resume from an older one") from None  # fmt: skip
    return Position(**position), shared


def _load(path: Path) -> dict[str, Any]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # what is none of ours can raise anything in torch's readers
        content = None
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise WeightsError(
            f"checkpoint {path.parent}: {path.name} holds something else than tensors and plain values and was not "
            "opened, since opening it may run code; resume from an older one"
        )
    return content
