"""Trained models in MLflow: record them with their run, register them by name, fetch them."""

from __future__ import annotations

__all__ = ["add_scores", "fetch_model", "log_model", "register_model"]

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attn import progress
from attn.tracking.address import registry_uri, tracking_uri
from attn.tracking.config import TrackingConfig

if TYPE_CHECKING:
    from attn.evaluation.score import Score
    from attn.models.bundle import Bundle
    from attn.registry.registered import RegisteredModel
    from attn.segmentation.bundle import Segmenter


def log_model(tracking: TrackingConfig, root: str, run_id: str | None, bundle: Path) -> str | None:
    """Record a trained model from its bundle folder and, if configured, register it.

    A run registers the same weights once: if it has registered them before, that version is completed, and no other
    model loses its alias. Otherwise as `register_model`.

    Returns:
        The model's URI; None if the run has no record.

    Raises:
        TrackingError: The server refuses or does not answer.
        WeightsError: The bundle cannot be read.
    """
    if not tracking.enabled or run_id is None:
        return None
    uri = tracking_uri(tracking, root)
    if tracking.register_as is None:
        return _record(uri, run_id, bundle)
    from attn.registry.mlflow_registry import Registry

    name, alias = tracking.register_as, tracking.alias
    result = Registry(uri).complete_earlier(name, run_id, bundle, alias=alias)
    if result is None:
        result, new = register_model(uri, run_id, bundle, name, alias)
        if not new:
            progress.say(f"{result.reference} is this very model: no other version is made")
    return f"models:/{result.reference}"


def register_model(
    uri: str, run_id: str, bundle: Path, name: str, alias: str | None = None
) -> tuple[RegisteredModel, bool]:
    """Register a trained model by the record of its run, which gets the model now if it does not have it.

    A name has one version of a model, whichever runs have trained it.

    Args:
        uri: The server or database.
        run_id: MLflow's id of the run.
        alias: Moved to the version; a line says which version loses it.

    Returns:
        The version, and whether it is new.

    Raises:
        TrackingError: The server refuses or does not answer.
        WeightsError: The bundle cannot be read.
    """
    from attn.registry.mlflow_model import recorded_network
    from attn.registry.mlflow_registry import Registry
    from attn.registry.version_tags import is_model_of

    registry = Registry(uri)
    with progress.task("registering the model"):
        before = None if alias is None else registry.version_of_alias(name, alias)
        known = registry.version_of(name, bundle)
        recorded = recorded_network(uri, run_id, bundle) or _record(uri, run_id, bundle)
        if known is None:
            result = registry.register(name, recorded, run_id, bundle, alias=alias)
        else:
            # A crash may have left it half done.
            result = (
                registry.complete_earlier(name, known.tracking_run, bundle) if is_model_of(known, bundle) else known
            )
            result = result or known
            result = result if alias is None else registry.promote(result.reference, alias)[0]
    if before not in (None, result.version):
        progress.say(f"@{alias} moved from {name}/{before} to {result.reference}")
    return result, known is None


def _record(uri: str, run_id: str, bundle: Path) -> str:
    """Record a trained model, and return its URI."""
    from attn.prediction.usage import usage_of
    from attn.registry.mlflow_model import log_network

    opened, metadata, outputs = _opened(bundle)
    size = opened.input.size
    return log_network(
        uri,
        run_id,
        opened.network,
        size=(size, size) if isinstance(size, int) else size,
        bundle=bundle,
        outputs=outputs,
        metadata=metadata | {"classes": list(opened.classes), **usage_of(opened)},
    )


def add_scores(tracking: TrackingConfig, root: str, run_id: str | None, sha256: str, scores: Iterable[Score]) -> None:
    """Add an evaluation's scores to every registered version with these weights; does nothing without a record.

    Raises:
        TrackingError: The server refuses or does not answer.
    """
    if not tracking.enabled or run_id is None:
        return
    from attn.registry.mlflow_registry import Registry

    Registry(tracking_uri(tracking, root)).add_scores(sha256, run_id, scores)


def _opened(bundle: Path) -> tuple[Bundle | Segmenter, dict[str, Any], tuple[int, ...]]:
    """A bundle, metadata that depend on its task, and the shape of its network's output."""
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
    from attn.registry.mlflow_registry import Registry

    with progress.task(f"fetching the model {name}", patience=1.0):
        return Registry(registry_uri(tracking, root)).fetch(name, folder)[0]
