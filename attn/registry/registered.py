"""Registered models, and references to them."""

from __future__ import annotations

__all__ = ["Reference", "RegisteredModel", "parse_reference"]

import re
from dataclasses import dataclass
from typing import Any

from attn.errors import WeightsError
from attn.evaluation.score import Score

REFERENCE = re.compile(r"(?P<name>[^/@:]+)(?:@(?P<alias>[^/@:]+)|/(?P<version>[0-9]+))?")


@dataclass(frozen=True)
class Reference:
    """`name@alias`, `name/version`, or `name` for the newest version."""

    name: str
    alias: str | None = None
    version: int | None = None


@dataclass(frozen=True)
class RegisteredModel:
    """One version of a registered model.

    Attributes:
        created: Seconds since 1970.
        task: `classification` or `segmentation`.
        sha256: SHA-256 of the weights.
        description_sha256: SHA-256 of `model.json`.
        run: The run that trained it; `tracking_run` is its id in MLflow.
        data: Fingerprint of its training data.
        store, store_version: Map store and version of the training run, if maps were accumulated.
        scores: Scores from evaluations of exactly these weights, the newest of each protocol.
        card: The model card as Markdown.
        broken: Names unreadable tags; their values are left out.
    """

    name: str
    version: int
    aliases: tuple[str, ...]
    created: float
    tracking_run: str
    task: str
    sha256: str
    description_sha256: str
    run: str | None = None
    data: str | None = None
    store: str | None = None
    store_version: int | None = None
    scores: tuple[Score, ...] = ()
    card: str = ""
    broken: str | None = None

    @property
    def reference(self) -> str:
        return f"{self.name}/{self.version}"

    def to_json(self) -> dict[str, Any]:
        """Plain values; each score has its protocol and the protocol's hash."""
        return {
            "name": self.name,
            "version": self.version,
            "aliases": list(self.aliases),
            "created": self.created,
            "task": self.task,
            "sha256": self.sha256,
            "run": self.run,
            "tracking_run": self.tracking_run,
            "data": self.data,
            "store": self.store,
            "store_version": self.store_version,
            "broken": self.broken,
            "scores": [score.model_dump(mode="json") | {"hash": score.hash} for score in self.scores],
        }


def parse_reference(text: str) -> Reference:
    """Parse a user's reference to a registered model.

    Raises:
        WeightsError: The text is not a reference.
    """
    match = REFERENCE.fullmatch(text)
    if match is None:
        raise WeightsError(
            f"{text!r} is not a registered model's name: use NAME@ALIAS, NAME/VERSION, or NAME for the newest version"
        )
    version = match["version"]
    return Reference(match["name"], match["alias"], int(version) if version else None)
