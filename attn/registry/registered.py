"""A registered model as its registry describes it, and how one is named."""

from __future__ import annotations

__all__ = ["Reference", "Registered", "parse_reference"]

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
class Registered:
    """One version of a registered model.

    Attributes:
        created: Seconds since 1970.
        task: `classification` or `segmentation`.
        sha256: Of the weights.
        description_sha256: Of `model.json`.
        run: The run that trained it; `tracking_run` is its id in MLflow.
        data: Fingerprint of the data that it was trained on.
        store, store_version: The map store and its version that the model came from, where maps were accumulated.
        scores: Of evaluations of these very weights, the newest of each protocol.
        card: Markdown.
        broken: Which of its tags cannot be read; what they would say is left out.
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
        """Plain values, each score with its protocol and that protocol's hash."""
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
    """What a user's name of a registered model means.

    Raises:
        WeightsError: It is none.
    """
    found = REFERENCE.fullmatch(text)
    if found is None:
        raise WeightsError(
            f"{text!r} names no registered model: write NAME@ALIAS, NAME/VERSION, or NAME for the newest"
        )
    version = found["version"]
    return Reference(found["name"], found["alias"], int(version) if version else None)
