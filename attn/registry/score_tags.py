"""Scores as the text of a tag of a registered version: each protocol once, a grid of thresholds by its size."""

from __future__ import annotations

__all__ = ["read_scores", "scores_text"]

import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from attn.evaluation.localization import threshold_grid
from attn.evaluation.score import Protocol, Score
from attn.parsing import load_json

MOST_THRESHOLDS = 1000
"""The largest grid of `attn evaluate`; a damaged tag may name a larger one."""


def scores_text(at: int, scores: Iterable[Score]) -> str:
    """Scores with their protocols as JSON, without curves and per-class values.

    Args:
        at: Time of the evaluation, in milliseconds since 1970.
    """
    protocols: dict[str, dict[str, Any]] = {}
    written: list[dict[str, Any]] = []
    for score in scores:
        protocols.setdefault(score.hash, {"hash": score.hash} | _short_protocol(score.protocol))
        place = list(protocols).index(score.hash)
        written.append({"name": score.name, "value": score.value, "protocol": place, "extras": _small(score.extras)})
    return json.dumps({"at": at, "scores": written, "protocols": list(protocols.values())}, allow_nan=False)


def read_scores(text: str) -> tuple[int, list[Score]]:
    """The time and the scores of a tag; those of earlier versions have each score's protocol with it.

    Raises:
        AttnError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError: The text is no such tag.
    """
    record = load_json(text)
    protocols = [_whole_protocol(fields) for fields in record.get("protocols", [])]
    return int(record["at"]), [_score(fields, protocols) for fields in record["scores"]]


def _score(fields: dict[str, Any], protocols: Sequence[dict[str, Any]]) -> Score:
    if isinstance(place := fields.get("protocol"), int):
        protocol = dict(protocols[place])
        fields = fields | {"hash": protocol.pop("hash"), "protocol": protocol}
    return Score.from_json(json.dumps(fields))


def _short_protocol(protocol: Protocol) -> dict[str, Any]:
    fields = {name: value for name, value in protocol.model_dump(mode="json").items() if value is not None}
    if protocol.threshold is not None:
        fields["threshold"]["values"] = _short_values(protocol.threshold.values)
    return fields


def _whole_protocol(fields: dict[str, Any]) -> dict[str, Any]:
    rule = fields.get("threshold")
    if rule is None or not isinstance(rule["values"], dict):
        return fields
    return fields | {"threshold": rule | {"values": _whole_values(rule["values"])}}


def _short_values(values: Sequence[float]) -> list[float] | dict[str, Any]:
    """Thresholds as the size of their grid and what stands besides; as they are if they are no grid."""
    for count in (len(values), len(values) - 1):
        grid = threshold_grid(count).tolist()
        short = {"grid": count, "besides": sorted(set(values) - set(grid))}
        if count > 1 and _whole_values(short) == list(values):
            return short
    return list(values)


def _whole_values(short: dict[str, Any]) -> list[float]:
    return np.union1d(threshold_grid(min(int(short["grid"]), MOST_THRESHOLDS)), short["besides"]).tolist()


def _small(extras: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in extras.items() if isinstance(value, (int, float, str))}
