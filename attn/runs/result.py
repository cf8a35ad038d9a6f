"""Results of jobs: frozen dataclasses, which become JSON only where a program prints or writes them."""

from __future__ import annotations

__all__ = ["IF_GIVEN", "ComposedResult", "JsonResult", "RunResult"]

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

IF_GIVEN = {"if given": True}
"""Metadata of a field that JSON leaves out where it is None."""


@dataclass(frozen=True)
class JsonResult:
    """Base of dataclasses that become a JSON object, with one key a field in the order of the fields."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        left_out = {field.name for field in fields(self) if field.metadata == IF_GIVEN and values[field.name] is None}
        return {name: _plain(value) for name, value in values.items() if name not in left_out}


@dataclass(frozen=True, kw_only=True)
class RunResult(JsonResult):
    """Result of a run.

    Attributes:
        run_id: Its id under the root.
        folder: Its folder.
    """

    run_id: str
    folder: str


@dataclass(frozen=True, kw_only=True)
class ComposedResult(RunResult):
    """Result of a run of a `ComposedConfig`.

    Attributes:
        scores: By name; a sweep may go by one of them.
        model: The trained model's folder, if there is one.
    """

    scores: dict[str, float]
    model: str | None


def _plain(value: Any) -> Any:
    if hasattr(value, "to_json"):
        return value.to_json()
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value
