"""One page of a run of any kind: what it was, what it left, and the commands that go on from there."""

from __future__ import annotations

__all__ = ["EvaluatedScore", "RunFile", "RunPage", "run"]

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

from attn.config.document import read_document
from attn.driver_process import INTERRUPTED, shown_stages
from attn.errors import AttnError
from attn.evaluation.thresholds import threshold_of
from attn.files.locations import list_files, list_folders
from attn.run_state import BROKEN, About, RunState
from attn.runs.config_classes import changed_fields, todays_config
from attn.runs.recipes import recipe_paths
from attn.runs.result import JsonResult
from attn.runs.started import Started, started, started_from
from jobs.next_commands import TRAINING, NextCommand, TrainedModel, next_commands
from jobs.runs.about import maps_words
from jobs.runs.contents import CONTENTS
from jobs.runs.listing import RunEntry, entry_of, find_run, parent_of
from jobs.runs.provenance import Origin, read_described, read_origin
from jobs.runs.run_folder import NoSuchRunError, RunFolder
from jobs.scoring.recorded import RecordedScore, recorded_scores
from jobs.sweeps.results import Row, objective_of, read_rows
from jobs.trained_run import best_trial, last_network

T = TypeVar("T")
SECTIONS = ("train", "refine", "integral", "method", "model", "labels", "data", "input", "validation", "optimizer",
            "schedule", "training", "checkpoint", "maps", "segment", "evaluation", "inference", "search", "scheduler",
            "objective", "space", "set")  # fmt: skip
"""Sections of a config that the page shows, in this order."""
BEGAN_WITH = ("attn", "python", "commit", "command", "recipe")


@dataclass(frozen=True)
class EvaluatedScore(JsonResult):
    """A score that an evaluation has taken of the run's model.

    Attributes:
        scored: What was scored: `classifier`, `maps`, `masks`, `maps: 3 scales, flip, affinity`.
        threshold: Share of a map's maximum at which maps were scored.
        protocol: The protocol's hash.
        run: The evaluation.
    """

    name: str
    value: float
    scored: str
    threshold: float | None
    data: str
    images: int
    protocol: str
    run: str

    @classmethod
    def of(cls, one: RecordedScore) -> Self:
        """A score as it was recorded."""
        score, protocol = one.score, one.score.protocol
        words = maps_words(protocol.scales, bool(protocol.flip), protocol.refinement)
        return cls(
            name=score.name,
            value=score.value,
            scored=f"{protocol.scored}: {words}" if words and protocol.scored != "classifier" else protocol.scored,
            threshold=threshold_of(score),
            data=f"{protocol.source} {protocol.split}",
            images=protocol.images,
            protocol=score.hash,
            run=one.run,
        )


@dataclass(frozen=True)
class RunFile(JsonResult):
    """A file or folder of the run, and what is in it; empty where that is not known."""

    name: str
    what: str


@dataclass(frozen=True, kw_only=True)
class RunPage(JsonResult):
    """What is known of a run.

    Attributes:
        state: As `attn ls` shows it: `interrupted` if its process is gone.
        about: Method and data in a few words.
        seconds: How long it ran.
        origin: Version, commit and command that it began with.
        settings: Sections of its config.
        best: With `checkpoint.best`, `metric`, `epoch` and `value` of the best epoch, which the model of a run that is
            done is of.
        stopped_early: Of a training that ended early: its last `epoch`, the `metric`, and the `best_epoch` of it.
        cues: Where saliency and threshold of the cues are from, in words, by name; empty of a run without cues.
        metrics: Figures of the last epoch, or of the model's, or the run's scores.
        evaluations: Scores that evaluations under the same root have taken of its model, the newest last.
        attempt_ends: What ended earlier attempts; see `RunState`.
        parts: Stages of a pipeline, or trials of a sweep.
        objective: Of a sweep: the `metric` by which trials are compared, and its `mode`: max or min.
        faults: Files of the run that cannot be read, and why.
        next: Commands that go on from here.
    """

    run_id: str
    folder: str
    kind: str | None
    state: str
    error: str | None
    attempt_ends: list[dict[str, Any]]
    about: About
    started: float | None
    ended: float | None
    seconds: float | None
    progress: str
    tracking_run: str | None
    origin: dict[str, Any]
    settings: dict[str, Any]
    data_fingerprint: str | None
    best: dict[str, Any] | None
    stopped_early: dict[str, Any] | None
    cues: dict[str, str]
    metrics: dict[str, float | None]
    evaluations: list[EvaluatedScore]
    parts: list[dict[str, Any]]
    objective: dict[str, str] | None
    files: list[RunFile]
    model: TrainedModel | None
    notices: list[str]
    faults: list[str]
    next: list[NextCommand]


@dataclass
class _Reader:
    """Reads a run's files; one that cannot be read is noted and does not hide the others."""

    faults: list[str] = field(default_factory=list[str])

    def __call__(self, read: Callable[[], T], otherwise: T) -> T:
        try:
            return read()
        except AttnError as error:
            if str(error) not in self.faults:
                self.faults.append(str(error))
            return otherwise


def run(name: str, *, root: str = "runs") -> RunPage:
    """Read all that is known of a run, also of one whose files are damaged.

    Args:
        name: Its id under the root, or its folder.

    Raises:
        RunError: There is no such run; the message names runs of a similar name.
    """
    folder = RunFolder.of(name, root)
    try:
        entry = entry_of(folder, find_run(folder))
    except NoSuchRunError:
        raise
    except AttnError as error:
        entry = RunEntry(RunState.of({"id": folder.run_id, "state": BROKEN, "error": str(error)}), About(), None)
    state, read = entry.state, _Reader()
    config = read(lambda: _document(folder, "config.yaml"), {})
    origin = read(lambda: read_origin(folder), Origin({}))
    described = read(lambda: folder.read_json("model/model.json"), {})
    data, weights = read(lambda: read_described(folder), (None, None))
    scores = read(lambda: recorded_scores(folder, state, weights or state.weights), [])
    rows = read(lambda: read_rows(folder), []) if state.kind == "sweep" and folder.exists("sweep.yaml") else []
    parts = _parts(entry, rows)
    base = read(lambda: _document(folder, "base.yaml"), {}) if state.kind == "sweep" else {}
    trained_kind = str(base.get("kind", "train")) if state.kind == "sweep" else state.kind or "train"
    if state.kind == "sweep":
        best = best_trial(folder, config, rows)
        model = None if best is None else TrainedModel(best.path("model"), None, None, state.registered)
    else:
        model = _model(folder, state, described, weights)
    start = read(lambda: _baseline(origin.recipe), None)
    settings = _settings(state.kind, config, start)
    if base and (of_trials := _settings(trained_kind, base, start)):  # `set` is in the base once a sweep has begun
        settings["set"] = of_trials
    parent = None if state.state in ("done", BROKEN) else read(lambda: parent_of(folder, state), None)
    files = [RunFile(one, CONTENTS.get(one, "")) for one in read(lambda: _names(folder), [])]
    return RunPage(
        run_id=folder.run_id,
        folder=folder.uri,
        kind=state.kind,
        state=entry.shown_state,
        error=state.error,
        attempt_ends=state.attempt_ends or [],
        about=entry.about,
        started=state.started,
        ended=state.ended,
        seconds=entry.seconds,
        progress=entry.progress,
        tracking_run=state.tracking_run,
        origin={name: origin.values[name] for name in BEGAN_WITH if origin.values.get(name)},
        settings=settings,
        data_fingerprint=origin.data or data,
        best=state.best,
        stopped_early=state.stopped_early,
        cues=_cue_origin(state),
        metrics={**(state.scores or {}), **(state.metrics or {})},
        evaluations=[EvaluatedScore.of(one) for one in scores],
        parts=parts,
        objective=objective_of(config).model_dump(include={"metric", "mode"}) if state.kind == "sweep" else None,
        files=files,
        model=model,
        notices=[*(state.notices or []), *(state.notes or [])],
        faults=read.faults,
        next=next_commands(folder, entry, trained_kind, model, [one.name for one in files], parent),
    )  # fmt: skip


def _cue_origin(state: RunState) -> dict[str, str]:
    cues = state.cues or {}
    return {name: cues[name] for name in ("saliency", "threshold") if isinstance(cues.get(name), str)}


def _document(folder: RunFolder, name: str) -> dict[str, Any]:
    """A YAML file of the run as plain values; empty where there is none."""
    if not folder.exists(name):
        return {}
    return read_document(folder.read_text(name), folder.path(name)).values


def _baseline(recipe: str | None) -> Started | None:
    """The recipe that a run started from; None where there is none of that name today."""
    if recipe not in recipe_paths():
        return None
    with started_from(recipe):
        return started()


def _settings(kind: str | None, values: dict[str, Any], start: Started | None) -> dict[str, Any]:
    """The sections of a config with the fields that differ from their defaults, or from those of its recipe.

    A config that today's classes do not take, of an earlier version, is given whole.
    """
    chosen, config = values, todays_config(kind or "train", values)
    if config is not None:
        chosen = changed_fields(config, None if start is None else start.baseline(config))
    return {name: chosen[name] for name in SECTIONS if chosen.get(name) not in (None, {}, [])}


def _names(folder: RunFolder) -> list[str]:
    names = [*list_files(folder.uri), *list_folders(folder.uri)]
    trials = f"{folder.run_id}-"
    return [name for name in names if not (name.startswith(trials) and name.removeprefix(trials).isdigit())]


def _model(
    folder: RunFolder, state: RunState, described: Mapping[str, Any], weights: str | None
) -> TrainedModel | None:
    if not described and state.kind not in (*TRAINING, "pipeline", None):
        return None
    if (last := last_network(folder, state)) is not None and last.exists("model/model.json"):
        return TrainedModel(last.path("model"), None, None, None)
    place = folder.path("model") if described else state.model
    if place is None:
        return None
    classes, info = described.get("classes"), described.get("info")
    named = [str(name) for name in classes] if isinstance(classes, list) else None
    registered = info.get("registered") if isinstance(info, dict) else None
    return TrainedModel(
        place,
        weights or state.weights,
        named,
        registered if isinstance(registered, str) else state.registered,
    )


def _parts(entry: RunEntry, rows: Iterable[Row]) -> list[dict[str, Any]]:
    state, driven = entry.state, entry.driver in ("here", "elsewhere")
    if state.stages is not None:
        begun = {name: stage.to_json() for name, stage in state.stages.items()}
        shown = shown_stages(state, driven=driven)
        return [
            {"stage": name, **begun.get(name, {}), "state": "done" if one == "reused" else one}
            for name, one in shown.items()
        ]
    return [row.to_json() | ({"state": INTERRUPTED} if row.state == "running" and not driven else {}) for row in rows]
