"""The record of a run in MLflow: parameters, metrics, previews, model. Importing this does not import MLflow."""

from __future__ import annotations

__all__ = [
    "NullTracker",
    "Tracker",
    "TrackingConfig",
    "add_scores",
    "attach",
    "children_of",
    "create_run",
    "fetch_model",
    "log_model",
    "send_kept",
    "terminate",
]

import contextlib
from collections.abc import Generator, Iterable
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attn.config.base import Config
from attn.tracking.address import registry_uri, tracking_uri
from attn.tracking.config import TrackingConfig
from attn.tracking.tracker import NullTracker, Tracker

if TYPE_CHECKING:
    from attn.evaluation.score import Score
    from attn.models.bundle import Bundle
    from attn.segmentation.bundle import Segmenter


_PARENT: ContextVar[str | None] = ContextVar("parent", default=None)


@contextlib.contextmanager
def children_of(run_id: str | None) -> Generator[None]:
    """Within, the records that begin in this thread are children of this one; without an id they are nobody's."""
    token = _PARENT.set(run_id)
    try:
        yield
    finally:
        _PARENT.reset(token)


def create_run(
    tracking: TrackingConfig, root: str, name: str, config: Config, *, tags: dict[str, str] | None = None
) -> str | None:
    """Begin a run's record; call it in the driver, before any worker starts.

    Args:
        root: Folder or `s3://` prefix of the runs: the SQLite file lies there when the config gives no URI.
        name: The run's own id.
        config: The resolved config, recorded as parameters and as `config.yaml`.

    Returns:
        The record's id for `attach`, or None where tracking is off.

    Raises:
        TrackingError: The server does not answer within a few seconds, or refuses.
    """
    if not tracking.enabled:
        return None
    from attn.config.resolve import dump_config
    from attn.tracking.mlflow_tracker import create_mlflow_run

    return create_mlflow_run(
        tracking_uri(tracking, root),
        tracking.experiment,
        name,
        config.model_dump(mode="json"),
        config_yaml=dump_config(config),
        tags=(tags or {}) | ({"mlflow.parentRunId": parent} if (parent := _PARENT.get()) else {}),
    )


def attach(tracking: TrackingConfig, root: str, run_id: str | None, folder: str | None = None) -> Tracker:
    """Take up a run's record, on whatever machine; without an id, a tracker that keeps nothing.

    Args:
        folder: The run's folder, where records wait while the server is away; left out, they are lost.
    """
    if not tracking.enabled or run_id is None:
        return NullTracker()
    from attn.tracking.mlflow_tracker import MlflowTracker

    if folder is not None:
        from attn.tracking.kept_tracker import KeptTracker

        return KeptTracker(tracking_uri(tracking, root), run_id, folder)
    return MlflowTracker(tracking_uri(tracking, root), run_id)


def terminate(tracking: TrackingConfig, root: str, run_id: str | None, state: str, folder: str | None = None) -> None:
    """Close a run's record: `done`, `failed`, `cancelled`, or `stopped` by a sweep.

    Args:
        folder: As for `attach`.

    Raises:
        TrackingError: The server refuses or does not answer; with a folder, what it does not have yet waits there.
    """
    attach(tracking, root, run_id, folder).terminate(state)


def send_kept(tracking: TrackingConfig, root: str, run_id: str | None, folder: str) -> None:
    """Send what waits in a run's folder.

    Raises:
        TrackingError: The server still refuses or does not answer.
    """
    if tracking.enabled and run_id is not None:
        from attn.tracking.kept_tracker import KeptTracker

        KeptTracker(tracking_uri(tracking, root), run_id, folder).send_kept()


def log_model(tracking: TrackingConfig, root: str, run_id: str | None, bundle: Path) -> str | None:
    """Record a trained model from its bundle folder and register it where the config says so.

    Returns:
        The model's URI, or None where there is no record.

    Raises:
        TrackingError: The server refuses or does not answer.
        WeightsError: The bundle cannot be read.
    """
    if not tracking.enabled or run_id is None:
        return None
    from attn.models.usage import usage_of
    from attn.tracking.mlflow_model import log_network

    opened, metadata, outputs = _opened(bundle)
    size, uri = opened.input.size, tracking_uri(tracking, root)
    recorded = log_network(
        uri,
        run_id,
        opened.network,
        size=(size, size) if isinstance(size, int) else size,
        bundle=bundle,
        outputs=outputs,
        metadata=metadata | {"classes": list(opened.classes), **usage_of(opened)},
    )
    if tracking.register_as is None:
        return recorded
    from attn.tracking.mlflow_registry import Registry

    found = Registry(uri).register(tracking.register_as, recorded, run_id, bundle, alias=tracking.alias)
    return f"models:/{found.reference}"


def add_scores(tracking: TrackingConfig, root: str, run_id: str | None, sha256: str, scores: Iterable[Score]) -> None:
    """Let every registered version of some weights carry an evaluation's scores; nothing where there is no record.

    Raises:
        TrackingError: The server refuses or does not answer.
    """
    if not tracking.enabled or run_id is None:
        return
    from attn.tracking.mlflow_registry import Registry

    Registry(tracking_uri(tracking, root)).add_scores(sha256, run_id, scores)


def _opened(bundle: Path) -> tuple[Bundle | Segmenter, dict[str, Any], tuple[int, ...]]:
    """A bundle of any task, what only its task has, and the shape of its network's output."""
    from attn.models.bundle import load_bundle
    from attn.models.description import read_description, task_of
    from attn.segmentation.bundle import TASK, load_segmenter

    if (task := task_of(read_description(bundle))) == TASK:
        return load_segmenter(bundle), {"task": task}, (-1, -1, -1, -1)
    opened = load_bundle(bundle)
    return opened, {"map_kind": opened.map_kind}, (-1, -1)


def fetch_model(tracking: TrackingConfig, root: str, name: str, folder: Path) -> Path:
    """Fetch a registered model's bundle into a folder: `name@alias`, `name/version`, or `name` for the newest version.

    Returns:
        The bundle's folder.
    """
    from attn.tracking.mlflow_registry import Registry

    return Registry(registry_uri(tracking, root)).fetch(name, folder)[0]
