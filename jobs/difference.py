"""Two runs side by side: config, code, environment, data, metrics and scores."""

from __future__ import annotations

__all__ = ["DifferenceResult", "FieldDifference", "MetricComparison", "ValueComparison", "run"]

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from attn import progress
from attn.config.document import read_document
from attn.evaluation.score import Score
from attn.evaluation.score_comparison import ScoreComparison, compare_scores
from attn.runs.config_classes import todays_config
from attn.runs.result import JsonResult
from attn.tracking.description import flattened
from jobs.repro import run_folder
from jobs.runs.model_epoch import metrics_epoch
from jobs.runs.provenance import Origin, read_changes, read_described, read_origin
from jobs.runs.run_folder import RunFolder
from jobs.scoring.recorded import recorded_scores, writes_scores

MEASURED_BY = ("data.", "validation.", "input.", "evaluation.", "inference.", "kind")
"""Fields that a run's own validation depends on."""
PLACES = ("data.root",)
SCORED_BY = {"train": "attn evaluate", "segment": "attn segment predict"}
"""The command that takes a run's scores, by its kind."""
ENVIRONMENT = ("attn", "python", "system", "processor", "cores", "threads", "gpus", "cuda")


@dataclass(frozen=True)
class FieldDifference(JsonResult):
    """A field of which two runs have different values."""

    field: str
    a: Any
    b: Any


@dataclass(frozen=True)
class ValueComparison(JsonResult):
    """A value of two runs, and whether it is the same; None: not known."""

    a: str | None
    b: str | None
    same: bool | None


@dataclass(frozen=True)
class MetricComparison(JsonResult):
    """A metric of two runs; `difference` is None where they were measured differently."""

    name: str
    a: float | None
    b: float | None
    difference: float | None


@dataclass(frozen=True)
class DifferenceResult(JsonResult):
    """Two runs side by side.

    Attributes:
        a, b: Ids.
        code: Commits, the `same` where the changes to them are the same, too.
        metrics_of: The epoch that each run's metrics are of, in words.
        metrics: Of the last epoch, or of the one that the model is of.
        why_not: Why the metrics cannot be compared.
        rounding: Fields of config and environment that differ and change in which order numbers are added up: figures
            may differ by rounding because of them.
        scores: Of evaluations, compared where their protocols are equal.
        unscored: If one of the runs alone has scores: the other one, with the command that takes some.
    """

    a: str
    b: str
    config: list[FieldDifference]
    data: ValueComparison
    code: ValueComparison
    environment: list[FieldDifference]
    packages: list[FieldDifference]
    weights: ValueComparison
    metrics_of: list[str]
    metrics: list[MetricComparison]
    why_not: list[str]
    rounding: list[str]
    scores: ScoreComparison
    unscored: list[str]


def run(a: str, b: str, *, root: str = "runs") -> DifferenceResult:
    """Compare two runs.

    Args:
        a, b: Ids under the root, or folders.

    Raises:
        RunError: There is no such run.
    """
    left, right = _read(a, root), _read(b, root)
    config = _config_differences(left, right)
    why = _why_not(config, _same(left.data, right.data))
    environment = _differing(left.environment, right.environment)
    packages = [dict(pin.split("==", 1) for pin in one.origin.pins) for one in (left, right)]
    return DifferenceResult(
        a=left.folder.run_id,
        b=right.folder.run_id,
        config=config,
        data=ValueComparison(left.data, right.data, _same(left.data, right.data)),
        code=ValueComparison(left.origin.commit, right.origin.commit, _same(left.code, right.code)),
        environment=environment,
        packages=_differing(*packages),
        weights=ValueComparison(left.weights, right.weights, _same(left.weights, right.weights)),
        metrics_of=[left.metrics_of, right.metrics_of],
        metrics=_metrics(left.metrics, right.metrics, comparable=not why),
        why_not=why,
        rounding=_rounding(config, environment),
        scores=compare_scores(left.scores, right.scores),
        unscored=[_unscored(a) for a, b in ((left, right), (right, left)) if b.scores and not a.scores],
    )


@dataclass(frozen=True)
class _Run:
    """The data of a run that are compared; None: not known.

    Attributes:
        config: As plain values.
        metrics: Of a training; an evaluation has `scores`, each with its protocol.
    """

    folder: RunFolder
    config: dict[str, Any]
    origin: Origin
    environment: dict[str, Any]
    data: str | None
    code: str | None
    weights: str | None
    metrics_of: str
    metrics: dict[str, float | None]
    scores: tuple[Score, ...]


def _read(name: str, root: str) -> _Run:
    with progress.reading(f"run {name}"):
        return _of_folder(run_folder(name, root))


def _of_folder(folder: RunFolder) -> _Run:
    state, origin = folder.state(), read_origin(folder)
    text = folder.read_text("config.yaml") if folder.exists("config.yaml") else ""
    data, weights = read_described(folder)
    commit = origin.commit
    threads = {} if state.threads is None else {"threads": state.threads}
    patch = read_changes(folder) or ""
    return _Run(
        folder=folder,
        config=read_document(text, folder.path("config.yaml")).values,
        origin=origin,
        environment=_picked(origin.values, ENVIRONMENT) | threads,
        data=origin.data or data,
        code=None if commit is None else f"{commit}\n{patch}",
        weights=weights or state.weights,
        metrics_of=metrics_epoch(state),
        metrics={} if writes_scores(state) else state.metrics or {},
        scores=tuple(one.score for one in recorded_scores(folder, state, weights)),
    )


def _config_differences(a: _Run, b: _Run) -> list[FieldDifference]:
    """The fields in which two configs differ, both with the fields of today's version if its classes take both.

    A field that a version has added is missing in the file of an earlier run, which behaved as its default says.
    """
    today = [todays_config(one.folder.state().kind or "train", one.config) if one.config else None for one in (a, b)]
    plain = [config.model_dump(mode="json") for config in today if config is not None]
    left, right = plain if len(plain) == 2 else (a.config, b.config)
    return [one for one in _differing(flattened(left), flattened(right)) if not {one.a, one.b} <= {None, "null"}]


def _unscored(run: _Run) -> str:
    text, command = f"{run.folder.run_id} has no scores", SCORED_BY.get(run.folder.state().kind or "")
    return text if command is None else f"{text}: `{command} {shlex.quote(run.folder.reference)}`"


def _differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[FieldDifference]:
    names = dict.fromkeys([*a, *b])
    return [FieldDifference(name, a.get(name), b.get(name)) for name in names if a.get(name) != b.get(name)]


def _picked(values: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: values[name] for name in names if name in values}


def _same(a: str | None, b: str | None) -> bool | None:
    return None if a is None or b is None else a == b


ROUNDING = ("cluster.workers", "cluster.threads", "cluster.device", "threads", "processor", "gpus")
"""Fields of config and environment that change in which order numbers are added up."""


def _rounding(config: list[FieldDifference], environment: list[FieldDifference]) -> list[str]:
    """Fields because of which figures may differ by rounding alone, if nothing else that changes them differs."""
    return list(dict.fromkeys(one.field for one in (*config, *environment) if one.field in ROUNDING))


def _why_not(config: list[FieldDifference], same_data: bool | None) -> list[str]:
    """Why the runs' own metrics cannot be compared."""
    why = ["the data differs (fingerprints)"] if same_data is False else []
    for one in config:
        moved = one.field in PLACES and same_data
        if one.field.startswith(MEASURED_BY) and not moved:
            why.append(f"{one.field}: {_value(one.a)} against {_value(one.b)}")
    return why


def _value(value: str | None) -> str:
    return "not set" if value is None else value


def _metrics(
    a: Mapping[str, float | None], b: Mapping[str, float | None], *, comparable: bool
) -> list[MetricComparison]:
    rows: list[MetricComparison] = []
    for name in dict.fromkeys([*a, *b]):
        left, right = a.get(name), b.get(name)
        difference = right - left if left is not None and right is not None and comparable else None
        rows.append(MetricComparison(name, left, right, difference))
    return rows
