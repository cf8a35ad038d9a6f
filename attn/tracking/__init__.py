"""The record of a run in MLflow: parameters, metrics, previews. Importing this does not import MLflow."""

from __future__ import annotations

__all__ = [
    "NullTracker",
    "Tracker",
    "TrackingConfig",
    "attach",
    "children_of",
    "create_run",
    "send_kept",
    "terminate",
]

import contextlib
from collections.abc import Generator
from contextvars import ContextVar

from attn.config.base import Config
from attn.tracking.address import tracking_uri
from attn.tracking.config import TrackingConfig
from attn.tracking.tracker import NullTracker, Tracker

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
