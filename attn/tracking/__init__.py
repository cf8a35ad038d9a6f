"""The record of a run in MLflow: parameters, metrics, previews, model. Importing this does not import MLflow."""

from __future__ import annotations

__all__ = ["NullTracker", "Tracker", "TrackingConfig", "attach", "create_run", "fetch_model", "log_model", "terminate"]

from pathlib import Path

from attn.config.base import Config
from attn.tracking.address import tracking_uri
from attn.tracking.config import TrackingConfig
from attn.tracking.tracker import NullTracker, Tracker


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
        tags=tags or {},
    )


def attach(tracking: TrackingConfig, root: str, run_id: str | None) -> Tracker:
    """Take up a run's record, on whatever machine; without an id, a tracker that keeps nothing."""
    if not tracking.enabled or run_id is None:
        return NullTracker()
    from attn.tracking.mlflow_tracker import MlflowTracker

    return MlflowTracker(tracking_uri(tracking, root), run_id)


def terminate(tracking: TrackingConfig, root: str, run_id: str | None, state: str) -> None:
    """Close a run's record: `done`, `failed` or `cancelled`."""
    attach(tracking, root, run_id).terminate(state)


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
    from attn.models.bundle import load_bundle
    from attn.tracking.mlflow_model import log_network

    opened = load_bundle(bundle)
    size = opened.input.size
    return log_network(
        tracking_uri(tracking, root),
        run_id,
        opened.network,
        size=(size, size) if isinstance(size, int) else size,
        bundle=bundle,
        metadata={
            "classes": list(opened.classes),
            "map_kind": opened.map_kind,
            "input": opened.input.model_dump(mode="json"),
        },
        register_as=tracking.register_as,
        alias=tracking.alias,
    )


def fetch_model(tracking: TrackingConfig, root: str, name: str, folder: Path) -> Path:
    """Fetch a registered model's bundle into a folder: `name@alias`, `name/version`, or `name` for the newest version.

    Returns:
        The bundle's folder.
    """
    from attn.tracking.mlflow_model import download_model

    return download_model(tracking_uri(tracking, root), name, folder)
