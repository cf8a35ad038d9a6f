"""Score a trained model and its attention maps, or the maps of a map store, on any data."""

from __future__ import annotations

__all__ = ["EvaluateResult", "load", "resume", "run", "score", "table"]

import json
import shlex
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attn.config.document import override_of
from attn.config.unused import unused_notices
from attn.data.names import file_stem
from attn.data.source import Source
from attn.display import percent
from attn.errors import TrackingError
from attn.evaluation.compute import MAPS_OFF
from attn.evaluation.faithfulness import DELETION, INSERTION
from attn.evaluation.inference import ImageMaps
from attn.evaluation.result import Evaluation
from attn.evaluation.score import Protocol, Score
from attn.evaluation.thresholds import separates, threshold_lines, threshold_of
from attn.files.spreadsheet import csv_table
from attn.pictures.curve import score_curves
from attn.pictures.panel import panel, sheet
from attn.pictures.preview import evenly_spaced, panel_data
from attn.pictures.tiles import PanelData
from attn.registry import add_scores
from attn.runs.evaluate import EvaluateModelConfig, EvaluateStoreConfig
from attn.runs.result import IF_GIVEN, RunResult
from attn.tracking import DataUsed, Tracker
from attn.wording import counted
from jobs.runs.about import maps_words, method_words, target_name
from jobs.runs.lifecycle import begin_or_continue, config_of, target_of, warned
from jobs.runs.open_model import data_name
from jobs.runs.run_folder import DEFAULT_ROOT, RunFolder, new_run_id
from jobs.scoring.targets import EvaluationTarget, ModelTarget, StoreTarget, open_target
from jobs.scoring.training_record import add_to_training
from jobs.training.notices import tell_notices

if TYPE_CHECKING:
    from rich.table import Table

SHEET_ROWS = 8
FAITHFULNESS = "faithfulness.png"
# Short enough for a terminal of 80 columns; the best direct score is below the table, insertion and deletion in a note.
FIGURES = {
    "accuracy": "acc.",
    "mean_ap": "AP",
    "mean_auc": "AUC",
    "recall": "recall",
    "specificity": "spec.",
    "seed_miou": "seed",
    "direct_miou": "direct",
    "energy": "energy",
    "pointing": "point",
    "coverage": "cover",
    "precision": "prec.",
}


@dataclass(frozen=True, kw_only=True)
class EvaluateResult(RunResult):
    """Scores of a model, or of the maps of a store.

    Attributes:
        model, weights: Of a model: its name and the SHA-256 of its weights.
        maps, version: Of a map store: its location and version.
        data: Source and split.
        images, masked: How many were scored, and how many of them have a mask.
        scores, protocols: Value and hash of the protocol, by name of the score.
        thresholds: Share of a map's maximum, by name of the scores that are at one.
        predict: Of a model: the command that makes masks at the best threshold, if that takes a part of its maps.
        per_class: A row a class, with its scores by name.
    """

    model: str | None = field(metadata=IF_GIVEN)
    weights: str | None = field(metadata=IF_GIVEN)
    maps: str | None = field(metadata=IF_GIVEN)
    version: int | None = field(metadata=IF_GIVEN)
    data: str
    images: int
    masked: int
    scores: dict[str, float]
    protocols: dict[str, str]
    thresholds: dict[str, float]
    predict: str | None = field(metadata=IF_GIVEN)
    notes: list[str]
    per_class: list[dict[str, Any]]
    tracking_run: str | None
    seconds: float


def load(target: str, overrides: list[str]) -> EvaluationTarget:
    """As `jobs.scoring.targets.open_target`."""
    return open_target(target, overrides)


def run(target: EvaluationTarget, *, run_id: str | None = None, address: str | None = None) -> EvaluateResult:
    """Score a model or stored maps, and write the scores, a table per class, curves and panels into a folder.

    Args:
        address: A Ray cluster that does it; without one, this process or as many of this machine as the config says.

    Raises:
        AttnError: The scores cannot be taken or written; the text says why.
    """
    return score(target, run_id=run_id, address=address)[0]


def score(
    target: EvaluationTarget, *, run_id: str | None = None, address: str | None = None
) -> tuple[EvaluateResult, list[PanelData]]:
    """As `run`, and the images that were drawn with their maps."""
    clock = time.monotonic() - target.load_seconds
    config = target.config
    tell_notices(unused_notices(config))
    folder = RunFolder(config.root, run_id or new_run_id("evaluate"))
    described = target.described
    named = {name: described.get(name) for name in ("model", "weights", "maps", "version")}
    tags = {f"attn.{'maps' if named['maps'] else 'model'}": target.name}
    tags |= {"attn.weights": named["weights"]} if named["weights"] else {}
    # Of a store the version, too: the newest may be another when the run is continued.
    work = {name: value for name, value in named.items() if value is not None}
    work["target"] = f"{named['maps']}@{named['version']}" if named["maps"] else target.name
    data = DataUsed.of(config.data, target.source)
    with begin_or_continue(
        "evaluate", config, folder, recorded=config, work=work, data=data, tags=tags, shown=("panels",)
    ) as live:
        evaluation, panels = _evaluate(target, address)
        _write(folder, evaluation, panels, described, _subject(target))
        live.outputs["metrics"] = evaluation.metrics()
        with warned("the scores could not be recorded", TrackingError):
            _record(live.tracker, folder, evaluation)
            if named["weights"]:
                add_scores(
                    config.tracking, config.root, live.tracking_run, named["weights"], evaluation.scores.values()
                )
        if isinstance(config, EvaluateModelConfig) and config.record_in_training:
            assert isinstance(target, ModelTarget), "a model's config is of a model"
            add_to_training(live, config, target.name, evaluation.scores, target.plain)
    result = EvaluateResult(
        run_id=folder.run_id,
        folder=folder.uri,
        **named,
        data=f"{data_name(config.data)} {config.data.split}",
        images=evaluation.images,
        masked=evaluation.masked,
        scores=evaluation.metrics(),
        protocols={name: score.hash for name, score in evaluation.scores.items()},
        thresholds={name: at for name, one in evaluation.scores.items() if (at := threshold_of(one)) is not None},
        predict=_predict_command(target, evaluation.scores.get("seed_miou")),
        notes=list(evaluation.notes),
        per_class=evaluation.table(),
        tracking_run=live.tracking_run,
        seconds=round(time.monotonic() - clock, 1),
    )
    return result, panels


def resume(name: str, *, root: str = "runs", address: str | None = None) -> EvaluateResult:
    """Score again what was interrupted, by the config that it began with."""
    folder = RunFolder.of(name, root)
    state, target = folder.state(), target_of(folder)
    if isinstance(state.maps, str):
        config = config_of(folder, EvaluateStoreConfig)
        return run(StoreTarget.open(target, state.maps, state.version, config), run_id=folder.run_id, address=address)
    model = ModelTarget.open(target, config_of(folder, EvaluateModelConfig))
    return run(model, run_id=folder.run_id, address=address)


def table(result: EvaluateResult) -> Table:
    """The result of `run` as a table for a terminal: one row a class, the means last."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    rows, scores = result.per_class, result.scores
    shown = [name for name in FIGURES if name in scores]
    masked = "" if MAPS_OFF in result.notes else f", {result.masked} with masks"
    title = f"{result.data}: {counted(result.images, 'image')}{masked}; percent"
    drawn = Table(title=title, title_style="bold", title_justify="left", box=SIMPLE_HEAD, padding=0, show_edge=False)
    drawn.add_column("class", overflow="fold")
    for name in shown:
        drawn.add_column(FIGURES[name], justify="right", no_wrap=True, min_width=max(5, len(FIGURES[name])))
    for row in rows:
        drawn.add_row(row["class"], *(percent(row.get(name)) for name in shown))
    drawn.add_section()
    drawn.add_row("mean", *(percent(scores[name]) for name in shown), style="bold")
    lines = [*threshold_lines(scores, result.thresholds), *result.notes, result.folder]
    drawn.caption, drawn.caption_justify = "\n".join(lines), "left"
    return drawn


def _predict_command(target: EvaluationTarget, seed: Score | None) -> str | None:
    """The command that makes masks at the best threshold; None where that is of no use, or the maps are others."""
    at = None if seed is None else threshold_of(seed)
    if at is None or not separates(at) or not isinstance(target, ModelTarget) or target.config.map_kind:
        return None
    config = target.config
    if (config.evaluation.layer, config.input) != (target.bundle.layer, target.bundle.input):
        return None
    words = ["attn", "predict", "IMAGE...", "--model", target.name, "--threshold", f"{at:g}"]
    words += [override_of(f"maps.{name}", value) for name, value in config.maps.changes().items()]
    words += [] if config.root == DEFAULT_ROOT else ["--root", config.root]
    return shlex.join(words)


@dataclass(frozen=True)
class _Draw:
    """Draws some of the images with their maps.

    Attributes:
        positions: Of these images in the data, by their ids.
    """

    source: Source
    positions: dict[str, int]

    def __call__(self, maps: ImageMaps) -> PanelData | None:
        if (index := self.positions.get(maps.record.image_id)) is None:
            return None
        return panel_data(maps, self.source.load(index, saliency=False), self.source.classes, with_mistake=True)


def _evaluate(target: EvaluationTarget, address: str | None) -> tuple[Evaluation, list[PanelData]]:
    source = target.source
    positions = {source.records[index].image_id: index for index in evenly_spaced(source.records, target.config.panels)}
    panels: list[PanelData] = []
    return target.evaluate(_Draw(source, positions), take=panels.append, address=address), panels


def _subject(target: EvaluationTarget) -> str:
    """The model's name with its method, or the store's name."""
    name = target_name(target.name)
    method = method_words(target.bundle.info) if isinstance(target, ModelTarget) else None
    return f"{name} ({method})" if method else name


def _title(subject: str, protocol: Protocol) -> str:
    """What a plot is of, in two lines: the model or store; the data and how its maps are made."""
    settings = maps_words(protocol.scales, bool(protocol.flip), protocol.refinement)
    maps = ", ".join(filter(None, (protocol.map_kind, settings)))
    return f"{subject}\n{protocol.source} {protocol.split}, {counted(protocol.images, 'image')}, maps: {maps}"


def _write(
    folder: RunFolder, evaluation: Evaluation, panels: list[PanelData], described: dict[str, Any], subject: str
) -> None:
    scores = {name: json.loads(score.to_json()) for name, score in evaluation.scores.items()}
    text = {
        "scored": described,
        "images": evaluation.images,
        "masked": evaluation.masked,
        "classes": list(evaluation.classes),
        "notes": list(evaluation.notes),
        "scores": scores,
    }
    folder.write("scores.json", json.dumps(text, indent=1, allow_nan=False))
    rows = evaluation.table()
    folder.write("per_class.csv", csv_table(list(rows[0]), [list(row.values()) for row in rows]))
    names = {"seed_miou": "seed mIoU", "direct_miou": "direct mIoU", "coverage": "coverage", "precision": "precision"}
    curves = {label: evaluation.scores[name].curve for name, label in names.items() if name in evaluation.scores}
    if curves:
        first = evaluation.scores.get("seed_miou") or evaluation.scores["direct_miou"]
        title = _title(subject, first.protocol)
        folder.write("curves.png", score_curves(curves, mark=first.extras["threshold"], title=title).png())
    shares = {name: evaluation.scores[name].curve for name in (INSERTION, DELETION) if name in evaluation.scores}
    if shares:
        protocol = evaluation.scores[INSERTION].protocol
        title = f"Probability of the map's class: {_title(subject, protocol)}"
        across = "pixels inserted or deleted, highest in the map first (percent)"
        folder.write(FAITHFULNESS, score_curves(shares, across=across, title=title).png())
    for one in panels:
        folder.write(f"panels/{file_stem(one.image_id)}.png", panel(one).png())
    if panels:
        folder.write("sheet.png", sheet(panels[:SHEET_ROWS]).png())


def _record(tracker: Tracker, folder: RunFolder, evaluation: Evaluation) -> None:
    if tracker.run_id is None:
        return
    tracker.log_metrics(evaluation.metrics(), 0)
    tracker.set_tags({f"attn.protocol.{name}": score.hash for name, score in evaluation.scores.items()})
    tracker.log_text("scores.json", folder.read_text("scores.json"))
    tracker.log_text("per_class.csv", folder.read_text("per_class.csv"))
    if folder.is_local:
        for name in ("curves.png", FAITHFULNESS, "sheet.png", "panels"):
            if (path := Path(folder.path(name))).exists():
                tracker.log_files(path, name if path.is_dir() else "")
