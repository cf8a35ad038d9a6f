"""Two runs side by side: config, code, environment, data, metrics and scores."""

from __future__ import annotations

__all__ = ["run"]

import json
from dataclasses import dataclass
from typing import Any

from attn.config.document import read_document
from attn.errors import AttnError, RunError
from attn.evaluation.pairing import side_by_side
from attn.evaluation.score import Score
from attn.run_state import RunState
from attn.tracking.mlflow_tracker import flattened
from jobs.repro import run_folder
from jobs.runs.listing import list_runs
from jobs.runs.provenance import CHANGES, read_described, read_origin
from jobs.runs.run_folder import RunFolder

SCORED = ("evaluate", "masks")
MEASURED_BY = ("data.", "validation.", "input.", "evaluation.", "inference.", "kind")
"""Fields that a run's own validation depends on."""
PLACES = ("data.root",)
ENVIRONMENT = ("attn", "python", "system", "processor", "cores", "threads", "gpus", "cuda")


def run(a: str, b: str, *, root: str = "runs") -> dict[str, Any]:
    """Compare two runs.

    Args:
        a, b: Ids under the root, or folders.

    Returns:
        `config`, `environment` and `packages` (each a list of `field`, `a`, `b` that differ), `code`, `data`, `weights`
        (each `a`, `b` and whether they are the `same`), `metrics` of the last epoch (with `why_not` where they were
        measured differently), and `scores` of evaluations: `compared` where protocols are equal, `not_compared` with
        the reason elsewhere.

    Raises:
        RunError: There is no such run.
    """
    left, right = (_read(run_folder(name, root)) for name in (a, b))
    config = _differing(left.config, right.config)
    why = _why_not(config, _same(left.data, right.data))
    packages = [dict(pin.split("==", 1) for pin in one.origin.get("pins", [])) for one in (left, right)]
    return {
        "a": left.folder.run_id,
        "b": right.folder.run_id,
        "config": config,
        "data": {"a": left.data, "b": right.data, "same": _same(left.data, right.data)},
        "code": {
            "a": left.origin.get("commit"),
            "b": right.origin.get("commit"),
            "same": _same(left.code, right.code),
        },
        "environment": _differing(*(_picked(one.origin, ENVIRONMENT) for one in (left, right))),
        "packages": _differing(*packages),
        "weights": {"a": left.weights, "b": right.weights, "same": _same(left.weights, right.weights)},
        "metrics": _metrics(left.metrics, right.metrics, comparable=not why),
        "why_not": why,
        "scores": side_by_side(left.scores, right.scores).to_json(),
    }


@dataclass(frozen=True)
class _Run:
    """What is known of a run; None stands for what is not."""

    folder: RunFolder
    config: dict[str, str]
    origin: dict[str, Any]
    data: str | None
    code: str | None
    weights: str | None
    metrics: dict[str, float | None]
    scores: tuple[Score, ...]


def _read(folder: RunFolder) -> _Run:
    state, origin = folder.state(), read_origin(folder)
    text = folder.read_text("config.yaml") if folder.exists("config.yaml") else ""
    data, weights = read_described(folder)
    commit = origin.get("commit")
    patch = folder.read_text(CHANGES) if folder.exists(CHANGES) else ""
    return _Run(
        folder=folder,
        config=flattened(read_document(text, folder.path("config.yaml")).values),
        origin=origin,
        data=origin.get("data") or data,
        code=None if commit is None else f"{commit}\n{patch}",
        weights=weights,
        metrics=state.metrics or {},
        scores=tuple(_scores(folder, state, weights)),
    )


def _scores(folder: RunFolder, state: RunState, weights: str | None) -> list[Score]:
    """Of the run itself where it is an evaluation, else of all evaluations beside it that scored its model."""
    if state.kind in SCORED:
        return _read_scores(folder)
    names = {folder.run_id, folder.uri, folder.path("model")}
    found: list[Score] = []
    for other in reversed(list_runs(folder.root)):  # the newest last: it counts
        if other.kind not in SCORED or other.state != "done":
            continue
        same_weights = weights is not None and other.weights == weights
        if same_weights or (other.weights is None and other.model in names):
            found += _read_scores(RunFolder(folder.root, other.id))
    return found


def _read_scores(folder: RunFolder) -> list[Score]:
    if not folder.exists("scores.json"):
        return []
    try:
        scores = folder.read_json("scores.json")["scores"]
        return [Score.from_json(json.dumps(one)) for one in scores.values()]
    except (AttnError, KeyError, AttributeError) as error:
        raise RunError(f"{folder.path('scores.json')} is damaged: {error}") from None


def _differing(a: dict[str, Any], b: dict[str, Any]) -> list[dict[str, Any]]:
    names = dict.fromkeys([*a, *b])
    return [{"field": name, "a": a.get(name), "b": b.get(name)} for name in names if a.get(name) != b.get(name)]


def _picked(values: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: values[name] for name in names if name in values}


def _same(a: str | None, b: str | None) -> bool | None:
    return None if a is None or b is None else a == b


def _why_not(config: list[dict[str, Any]], same_data: bool | None) -> list[str]:
    """Why the runs' own metrics cannot be compared."""
    why = ["the data differs (fingerprints)"] if same_data is False else []
    for one in config:
        name = one["field"]
        moved = name in PLACES and same_data
        if name.startswith(MEASURED_BY) and not moved:
            why.append(f"{name}: {one['a']} against {one['b']}")
    return why


def _metrics(a: dict[str, Any], b: dict[str, Any], *, comparable: bool) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for name in dict.fromkeys([*a, *b]):
        left, right = a.get(name), b.get(name)
        difference = right - left if left is not None and right is not None and comparable else None
        rows.append({"name": name, "a": left, "b": right, "difference": difference})
    return rows
