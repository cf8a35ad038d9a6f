"""What a run's page shows, as the process that reads it sends it."""

from __future__ import annotations

__all__ = ["ClassScores", "RunView", "StoreView"]

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ClassScores:
    """Scores of each class.

    Attributes:
        columns: Name and protocol of each score.
        rows: Each class with its values; None where it has no score.
    """

    columns: list[tuple[str, str]]
    rows: list[tuple[str, list[float | None]]]


@dataclass(frozen=True)
class StoreView:
    """A map store of the run, as `describe_store` has it; `error` says why it cannot be read."""

    uri: str
    described: dict[str, Any] | None
    error: str = ""


@dataclass(frozen=True)
class RunView:
    """A run's page.

    Attributes:
        page: As `attn show --json` prints it.
        settings: What differs from the defaults, or from its recipe: field and value.
    """

    page: dict[str, Any]
    settings: list[tuple[str, str]]
    classes: ClassScores
    stores: list[StoreView]
