"""The facts of a registered version that MLflow keeps as tags: what a listing shows, hashes of files, scores."""

from __future__ import annotations

__all__ = ["HASH", "SCORES_TAG", "is_model_of", "registered", "tags_of"]

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attn.errors import AttnError
from attn.evaluation.score import Score
from attn.files.locations import sha256_of
from attn.models.description import DESCRIPTION, task_of
from attn.registry.registered import RegisteredModel
from attn.registry.score_tags import read_scores

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

SCORES_TAG = "attn.scores."
"""Prefix of a version's tags with scores, one per evaluation, followed by the evaluation's run id."""
HASH_TAGS, HASH = ("attn.sha256", "attn.model_json"), re.compile(r"[0-9a-f]{64}")


def tags_of(described: dict[str, Any], bundle: Path) -> dict[str, str]:
    """The tags of a new version.

    Args:
        described: The content of the bundle's `model.json`.
    """
    info: Mapping[str, Any] = described.get("info") or {}
    tags: dict[str, Any] = {
        "attn.task": task_of(described),
        "attn.sha256": described["sha256"],
        "attn.model_json": sha256_of(bundle / DESCRIPTION),
        "attn.run_id": info.get("run_id"),
        "attn.data": info.get("data"),
        "attn.store": info.get("store"),
        "attn.store_version": info.get("store_version"),
    }
    return {key: str(value) for key, value in tags.items() if value is not None}


def is_model_of(model: RegisteredModel, bundle: Path) -> bool:
    """Return whether a version of a bundle's weights has its `model.json` as well: both are of one run."""
    return model.description_sha256 == sha256_of(bundle / DESCRIPTION)


def registered(version: ModelVersion, aliases: dict[str, int]) -> RegisteredModel:
    """A version from its tags; unreadable tags are named in `broken`."""
    tags, number = version.tags, int(version.version)
    scores, faults = _scores(tags)
    faults += [f"{tag} is not a SHA-256" for tag in HASH_TAGS if not HASH.fullmatch(tags.get(tag, ""))]
    store_version = tags.get("attn.store_version")
    if store_version is not None and not re.fullmatch(r"[0-9]{1,18}", store_version):
        faults.append("attn.store_version is not a number")
        store_version = None
    return RegisteredModel(
        name=version.name,
        version=number,
        aliases=tuple(sorted(alias for alias, at in aliases.items() if at == number)),
        created=version.creation_timestamp / 1000,
        tracking_run=str(version.run_id),
        task=tags.get("attn.task", "classification"),
        sha256=tags.get("attn.sha256", ""),
        description_sha256=tags.get("attn.model_json", ""),
        run=tags.get("attn.run_id"),
        data=tags.get("attn.data"),
        store=tags.get("attn.store"),
        store_version=None if store_version is None else int(store_version),
        scores=scores,
        card=version.description or "",
        broken=f"damaged tags: {'; '.join(faults)}" if faults else None,
    )


def _scores(tags: dict[str, str]) -> tuple[tuple[Score, ...], list[str]]:
    """The newest score of each name and protocol, and faults of unreadable tags."""
    evaluations: list[tuple[int, list[Score]]] = []
    faults: list[str] = []
    for key in sorted(key for key in tags if key.startswith(SCORES_TAG)):
        try:
            evaluations.append(read_scores(tags[key]))
        except (AttnError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError):
            faults.append(f"{key} has no scores")
    ordered = sorted(evaluations, key=lambda evaluation: evaluation[0])
    newest = {(score.name, score.hash): score for _, scores in ordered for score in scores}
    return tuple(sorted(newest.values(), key=lambda score: (score.protocol.split, score.name, score.hash))), faults
