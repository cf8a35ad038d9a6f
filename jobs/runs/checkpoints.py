"""Locations of a run's checkpoints and map store: inside the run's folder by default."""

from __future__ import annotations

__all__ = [
    "COMMITTED",
    "best_checkpoint",
    "checkpoint_name",
    "commit_checkpoint",
    "committed_best",
    "map_store_uri",
    "newest_checkpoint",
    "newest_checkpoint_name",
    "ray_storage",
]

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attn.config.base import is_remote
from attn.data.names import name_fault
from attn.errors import RunError, WeightsError
from attn.files.transfer import download_folder
from attn.training.checkpoint import verify_folder
from jobs.runs.atomic_file_system import whole_files
from jobs.runs.object_file_system import object_files
from jobs.runs.run_folder import RunFolder

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

    from attn.training.selection import Best
    from attn.training.train_config import TrainConfig

SNAPSHOT = "checkpoints/checkpoint_manager_snapshot.json"
COMMITTED = "checkpoints/committed.json"
"""File that names the newest checkpoint of a run without Ray Train: a sweep's trial that trains in one process."""


def ray_storage(uri: str) -> tuple[str, FileSystem]:
    """`storage_path` and `storage_filesystem` of a Ray Train run for a run's folder."""
    return (uri.removeprefix("s3://"), object_files()) if is_remote(uri) else (uri, whole_files())


def map_store_uri(config: TrainConfig, folder: RunFolder) -> str:
    """Place of the map store of a run that accumulates."""
    return config.store.location or folder.path("store")


def checkpoint_name(epoch: int, batch: int = 0) -> str:
    """The folder of the checkpoint at a position of the training."""
    return f"epoch-{epoch:04d}-batch-{batch:06d}"


def commit_checkpoint(folder: RunFolder, name: str, best: str | None = None) -> None:
    """Make a checkpoint the newest of a run without Ray Train's manager, and remove those that are needed no longer.

    Args:
        best: The checkpoint of the best epoch, if the run selects one; it may be `name`.
    """
    before = {newest_checkpoint_name(folder), committed_best(folder)} - {None, name, best}
    folder.write(COMMITTED, json.dumps({"checkpoint": name, **({} if best is None else {"best": best})}))
    for old in before if folder.is_local else ():
        shutil.rmtree(folder.path(f"checkpoints/{old}"), ignore_errors=True)


def committed_best(folder: RunFolder) -> str | None:
    """The checkpoint of the best epoch that was committed last, of a run without Ray Train's manager."""
    name = folder.read_json(COMMITTED).get("best") if folder.exists(COMMITTED) else None
    return None if name is None else _plain_name(folder, COMMITTED, name)


def newest_checkpoint_name(folder: RunFolder) -> str | None:
    """The folder of the newest checkpoint that was committed: the one that a restart comes back to."""
    if folder.exists(COMMITTED):
        return _plain_name(folder, COMMITTED, folder.read_json(COMMITTED).get("checkpoint"))
    if not folder.exists(SNAPSHOT):
        return None
    latest = folder.read_json(SNAPSHOT).get("latest_checkpoint_result") or {}
    name = latest.get("checkpoint_dir_name") if isinstance(latest, dict) else latest
    return None if name is None else _plain_name(folder, SNAPSHOT, name)


def _plain_name(folder: RunFolder, file: str, name: Any) -> str:
    if not isinstance(name, str) or name_fault(name) or "/" in name:
        raise RunError(f"{folder.path(file)} is damaged: it names no checkpoint of the run")
    return name


def newest_checkpoint(folder: RunFolder, scratch: Path) -> Path:
    """The newest committed checkpoint of a run as a verified local folder.

    Raises:
        WeightsError: There is none, or it is damaged.
    """
    name = newest_checkpoint_name(folder)
    if not name:
        raise WeightsError(f"run {folder.run_id} has no checkpoint yet")
    return _verified(folder, name, scratch)


def best_checkpoint(folder: RunFolder, best: Best, scratch: Path) -> Path:
    """The checkpoint of the best epoch, which the newest checkpoint names, as a verified local folder.

    Raises:
        WeightsError: It is gone or damaged.
    """
    name = committed_best(folder) or checkpoint_name(best.epoch)
    try:
        return _verified(folder, name, scratch)
    except WeightsError as error:
        where = folder.path(f"checkpoints/{name}")
        raise WeightsError(
            f"epoch {best.epoch}, the best by {best.metric}, is gone from {where} or damaged: restore that folder, or "
            "begin a new run without checkpoint.best"
        ) from error


def _verified(folder: RunFolder, name: str, scratch: Path) -> Path:
    where = folder.path(f"checkpoints/{name}")
    local = Path(where) if folder.is_local else download_folder(where, scratch)
    verify_folder(local, 0)
    return local
