"""Records runs in MLflow: parameters, metrics, previews. Importing this package does not import MLflow."""

from __future__ import annotations

__all__ = [
    "DataUsed",
    "NullTracker",
    "RunDescription",
    "Tracker",
    "TrackingConfig",
    "attach",
    "children_of",
    "create_run",
    "run_params",
    "send_pending",
    "terminate",
]

import contextlib
from collections.abc import Generator, Mapping
from contextvars import ContextVar

from attn.config.base import Config
from attn.tracking.address import tracking_uri
from attn.tracking.config import TrackingConfig
from attn.tracking.description import DataUsed, RunDescription, run_params
from attn.tracking.tracker import NullTracker, Tracker

_PARENT: ContextVar[str | None] = ContextVar("parent", default=None)


@contextlib.contextmanager
def children_of(run_id: str | None) -> Generator[None]:
    """Inside the `with` block, new records of this thread are children of a record; None: they have no parent."""
    token = _PARENT.set(run_id)
    try:
        yield
    finally:
        _PARENT.reset(token)


def create_run(
    tracking: TrackingConfig,
    root: str,
    name: str,
    config: Config,
    described: RunDescription | None = None,
    *,
    tags: Mapping[str, str] | None = None,
) -> str | None:
    """Create a run's record. Call it in the driver before any worker starts.

    Args:
        root: Folder or `s3://` prefix of the runs; has the SQLite file if the config has no URI.
        name: The run's id.
        config: The resolved config, recorded as `config.yaml`.
        described: What else the record says of the run; by default the config's parameters.

    Returns:
        The record's id for `attach`; None if tracking is disabled.

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
        described or RunDescription(run_params(config)),
        config_yaml=dump_config(config),
        tags={**(tags or {}), **({"mlflow.parentRunId": parent} if (parent := _PARENT.get()) else {})},
    )


def attach(tracking: TrackingConfig, root: str, run_id: str | None, folder: str | None = None) -> Tracker:
    """Open a tracker for a run's record, on any machine; without an id, a tracker that does nothing.

    Args:
        folder: The run's folder, to buffer what cannot be sent while the server is down; None: it is lost.
    """
    if not tracking.enabled or run_id is None:
        return NullTracker()
    from attn.tracking.mlflow_tracker import MlflowTracker

    if folder is not None:
        from attn.tracking.buffered_tracker import BufferedTracker

        return BufferedTracker(tracking_uri(tracking, root), run_id, folder)
    return MlflowTracker(tracking_uri(tracking, root), run_id)


def terminate(tracking: TrackingConfig, root: str, run_id: str | None, state: str, folder: str | None = None) -> None:
    """Close a run's record.

    Args:
        state: `done`, `failed`, `cancelled`, or `stopped` (by a sweep).
        folder: As for `attach`.

    Raises:
        TrackingError: The server refuses or does not answer. With a folder, everything not sent is buffered there.
    """
    attach(tracking, root, run_id, folder).terminate(state)


def send_pending(tracking: TrackingConfig, root: str, run_id: str | None, folder: str) -> None:
    """Send everything that is buffered in a run's folder, for its own record or for that of its model's training.

    Raises:
        TrackingError: The server still refuses or does not answer.
    """
    from attn.tracking.journal import Journal

    if (tracking.enabled and run_id is not None) or Journal(folder).records:
        from attn.tracking.buffered_tracker import BufferedTracker

        BufferedTracker(tracking_uri(tracking, root), run_id or "", folder).send_pending()
