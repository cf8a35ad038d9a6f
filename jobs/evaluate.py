"""Score a trained model and its attention maps, or the maps of a map store, on any data, in this process."""

from __future__ import annotations

__all__ = ["resume", "run", "score", "table"]

import csv
import io
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attn.data.names import file_stem
from attn.errors import TrackingError
from attn.evaluation.evaluate import Evaluation
from attn.evaluation.inference import ImageMaps
from attn.pictures.curve import threshold_curves
from attn.pictures.panel import Looked, panel, sheet
from attn.pictures.preview import evenly_spaced, looked_at
from attn.registry import add_scores
from attn.tracking import Tracker
from jobs.runs.lifecycle import begin_or_continue, resolved_overrides, target_of, warned
from jobs.runs.open_model import data_name
from jobs.runs.run_folder import RunFolder, new_run_id
from jobs.scoring.targets import Subject, open_subject

if TYPE_CHECKING:
    from rich.table import Table

SHEET_ROWS = 8
# Short enough for a terminal of 80 columns; `direct_miou_best` is in scores.json.
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


def run(target: str, overrides: list[str], *, run_id: str | None = None) -> dict[str, Any]:
    """Score a model or stored maps, and write the scores, a table per class, curves and panels into a folder.

    Args:
        target: A bundle's folder, a run's id or folder, a registered model as `name@alias` or `name/version`; or a map
            store's location, with `@` and a version behind it or the newest.
        overrides: `a.b=value`, over the model's or store's own data.

    Returns:
        `run_id`, `folder`, `model` (or `maps` and `version`), `data`, `images`, `masked`, `scores` by name, `protocols`
        (hash by score), `notes`, `per_class` rows, `tracking_run`, `seconds`.

    Raises:
        AttnError: Model or maps, config and data do not fit; the text says where.
    """
    return score(target, overrides, run_id=run_id)[0]


def score(target: str, overrides: list[str], *, run_id: str | None = None) -> tuple[dict[str, Any], list[Looked]]:
    """As `run`, and the images that were drawn with their maps."""
    clock = time.monotonic()
    subject = open_subject(target, overrides)
    config = subject.config
    folder = RunFolder(config.root, run_id or new_run_id("evaluate"))
    named = "maps" if "maps" in subject.described else "model"
    tags = {f"attn.{named}": target}
    weights = subject.described.get("weights")
    tags |= {"attn.weights": weights} if weights else {}
    told = {
        name: subject.described[name] for name in ("model", "weights", "maps", "version") if name in subject.described
    }
    # Of a store the version, too: the newest may be another when the run is continued.
    work = {**told, "target": f"{told['maps']}@{told['version']}" if "maps" in told else target}
    with begin_or_continue("evaluate", config, folder, recorded=config, work=work, tags=tags) as live:
        evaluation, looked = _evaluate(subject)
        _write(folder, evaluation, looked, subject.described)
        live.outputs["metrics"] = evaluation.metrics()
        with warned("the scores could not be recorded", TrackingError):
            _record(live.tracker, folder, evaluation)
            if weights:
                add_scores(config.tracking, config.root, live.tracking_run, weights, evaluation.scores.values())
    result = {
        "run_id": folder.run_id,
        "folder": folder.uri,
        **told,
        "data": f"{data_name(config.data)} {config.data.split}",
        "images": evaluation.images,
        "masked": evaluation.masked,
        "scores": evaluation.metrics(),
        "protocols": {name: score.hash for name, score in evaluation.scores.items()},
        "notes": list(evaluation.notes),
        "per_class": evaluation.table(),
        "tracking_run": live.tracking_run,
        "seconds": round(time.monotonic() - clock, 1),
    }
    return result, looked


def resume(name: str, *, root: str = "runs", address: str | None = None) -> dict[str, Any]:
    """Score again what was interrupted, by the config that it began with."""
    folder = RunFolder.of(name, root)
    return run(target_of(folder), resolved_overrides(folder), run_id=folder.run_id)


def table(result: dict[str, Any]) -> Table:
    """The result of `run` as a table for a terminal: one row a class, the means last."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    rows, scores = result["per_class"], result["scores"]
    shown = [name for name in FIGURES if name in scores]
    title = f"{result['data']}: {result['images']} images, {result['masked']} with masks; percent"
    drawn = Table(title=title, title_style="bold", title_justify="left", box=SIMPLE_HEAD, padding=0, pad_edge=False)
    drawn.add_column("class", overflow="fold")
    for name in shown:
        drawn.add_column(FIGURES[name], justify="right", no_wrap=True, min_width=max(5, len(FIGURES[name])))
    for row in rows:
        drawn.add_row(row["class"], *(_percent(row.get(name)) for name in shown))
    drawn.add_section()
    drawn.add_row("mean", *(_percent(scores[name]) for name in shown), style="bold")
    drawn.caption, drawn.caption_justify = "\n".join([*result["notes"], result["folder"]]), "left"
    return drawn


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _evaluate(subject: Subject) -> tuple[Evaluation, list[Looked]]:
    source = subject.source
    wanted = {source.records[index].image_id: index for index in evenly_spaced(source.records, subject.config.panels)}
    looked: list[Looked] = []

    def keep(maps: ImageMaps) -> None:
        if (index := wanted.get(maps.record.image_id)) is not None:
            looked.append(looked_at(maps, source.load(index, saliency=False), source.classes))

    return subject.evaluate(keep), looked


def _write(folder: RunFolder, evaluation: Evaluation, looked: list[Looked], described: dict[str, Any]) -> None:
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
    lines = io.StringIO()
    writer = csv.DictWriter(lines, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    folder.write("per_class.csv", lines.getvalue())
    names = {"seed_miou": "seed mIoU", "direct_miou": "direct mIoU", "coverage": "coverage", "precision": "precision"}
    curves = {label: evaluation.scores[name].curve for name, label in names.items() if name in evaluation.scores}
    if curves:
        first = evaluation.scores.get("seed_miou") or evaluation.scores["direct_miou"]
        title = f"{first.protocol.source} {first.protocol.split}, {first.protocol.map_kind}"
        folder.write("curves.png", threshold_curves(curves, mark=first.extras["threshold"], title=title).png())
    for one in looked:
        folder.write(f"panels/{file_stem(one.image_id)}.png", panel(one).png())
    if looked:
        folder.write("sheet.png", sheet(looked[:SHEET_ROWS]).png())


def _record(tracker: Tracker, folder: RunFolder, evaluation: Evaluation) -> None:
    if tracker.run_id is None:
        return
    tracker.log_metrics(evaluation.metrics(), 0)
    tracker.set_tags({f"attn.protocol.{name}": score.hash for name, score in evaluation.scores.items()})
    tracker.log_text("scores.json", folder.read_text("scores.json"))
    tracker.log_text("per_class.csv", folder.read_text("per_class.csv"))
    if folder.is_local:
        for name in ("curves.png", "sheet.png", "panels"):
            if (path := Path(folder.path(name))).exists():
                tracker.log_files(path, name if path.is_dir() else "")
