"""Masks of a trained segmentation network for any data, and their scores where the data has masks of its own."""

from __future__ import annotations

__all__ = ["MasksJob", "MasksResult", "load", "resume", "run", "table"]

import json
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from attn import progress
from attn.config.document import dump_values, read_document
from attn.config.resolve import resolve
from attn.config.unused import unused_notices
from attn.data.classes import check_classes
from attn.data.names import file_stem
from attn.data.source_cache import SourceCache
from attn.display import percent
from attn.errors import DataError, RunError, TrackingError
from attn.evaluation.score import Score
from attn.files.locations import beside
from attn.files.spreadsheet import csv_table
from attn.pictures.panel import panel, sheet
from attn.registry.lookup import open_model
from attn.runs.layers import with_data
from attn.runs.result import RunResult
from attn.runs.texts import LOCAL_TEXTS
from attn.segmentation.bundle import Segmenter, load_segmenter
from attn.segmentation.config import SegmentPredictConfig
from attn.segmentation.labels import CUES_FILE
from attn.tracking import DataUsed
from attn.wording import counted
from jobs.mask_prediction import PredictedMasks, predict_masks
from jobs.runs.lifecycle import begin_or_continue, config_of, target_of, warned
from jobs.runs.open_model import data_name, masks_name, model_lookup, scored_data, scored_split, with_run_name
from jobs.runs.run_folder import RunFolder, new_run_id
from jobs.scoring.plain_scores import PlainScores, is_other_data
from jobs.scoring.training_record import add_to_training
from jobs.training.notices import tell_notices
from jobs.training.segmenter import CUES

if TYPE_CHECKING:
    from rich.table import Table

SHEET_ROWS = 8
SUBMISSION = "results/VOC2012/Segmentation/comp6_{split}_cls"
"""Folder in which VOC's server looks for masks of networks that saw other data, such as ImageNet."""


@dataclass(frozen=True, kw_only=True)
class MasksResult(RunResult):
    """Masks of a segmentation network, and their scores.

    Attributes:
        data: Source and split.
        images, masked: How many there are, and how many of them have a mask of their own.
        masks: Folder of the masks; None where they were not kept.
        submission: Archive for VOC's evaluation server.
        scores, protocols: Value and hash of the protocol, by name of the score.
        per_class: A row a class, with its scores by name.
    """

    model: str
    data: str
    images: int
    masked: int
    masks: str | None
    submission: str | None
    scores: dict[str, float]
    protocols: dict[str, str]
    notes: list[str]
    per_class: list[dict[str, Any]]
    tracking_run: str | None
    seconds: float


@dataclass(frozen=True)
class MasksJob:
    """A trained segmentation network, and the data to make masks of.

    Attributes:
        model: As the user names it.
        voc_submission: Put the masks into the folders that VOC's evaluation server wants, and into one archive of them.
        load_seconds: How long it took to open the network.
    """

    model: str
    segmenter: Segmenter
    config: SegmentPredictConfig
    voc_submission: bool = False
    load_seconds: float = 0.0

    @classmethod
    def open(cls, model: str, config: SegmentPredictConfig, *, voc_submission: bool = False) -> Self:
        """A network, by the name that it has below the config's root or in its registry.

        Raises:
            WeightsError: There is no such network, or it is damaged.
        """
        clock = time.monotonic()
        with open_model(model, config, load_segmenter) as segmenter:
            return cls(model, segmenter, config, voc_submission, time.monotonic() - clock)


def load(model: str, overrides: list[str], *, voc_submission: bool = False) -> MasksJob:
    """The masks of a network, on its own validation split where overrides give no other data.

    Args:
        model: A bundle's folder, a run's id or folder, or a registered model as `name@alias` or `name/version`.
        overrides: `a.b=value`, over the network's own data and inference.

    Raises:
        AttnError: There is no such network, or the overrides do not fit it.
    """
    clock = time.monotonic()
    model, overrides = with_run_name(model), with_data(overrides, LOCAL_TEXTS)
    with progress.reading(model), open_model(model, model_lookup(overrides), load_segmenter) as segmenter:
        config = resolve_config(segmenter, overrides, f"{model}: config.yaml")
        return MasksJob(model, segmenter, config, voc_submission, time.monotonic() - clock)


def run(
    job: MasksJob, *, run_id: str | None = None, address: str | None = None, sources: SourceCache | None = None
) -> MasksResult:
    """Make the masks of a network, and score them.

    Args:
        run_id: Name of the job's folder; what lies there of an interrupted one is written again.
        address: A Ray cluster that computes the CRFs; without one, this machine's cores do.
        sources: Data sets that this process has built already.

    Raises:
        AttnError: Network, config and data do not fit; the text says where.
    """
    clock = time.monotonic() - job.load_seconds
    model, segmenter, config, voc_submission = job.model, job.segmenter, job.config, job.voc_submission
    tell_notices(unused_notices(config))
    source = (sources or SourceCache()).get(config.data, labels=False)
    check_classes(segmenter.classes, source.classes)
    if not source.records:
        raise DataError(f"data.split={config.data.split!r} has no images")
    folder = RunFolder(config.root, run_id or new_run_id("masks"))
    if voc_submission and config.data.variant == "voc" and getattr(config.data, "classes", None) is not None:
        raise RunError("--voc-submission needs masks of all of VOC's classes, by their numbers: set data.classes=null")
    if voc_submission and not folder.is_local:
        raise RunError("--voc-submission makes an archive on this machine: set root to a local folder")
    where = SUBMISSION.format(split=Path(config.data.split).stem) if voc_submission else "masks"
    work = {"model": model, "target": model, "weights": segmenter.sha256, "voc_submission": voc_submission}
    tags = {"attn.model": model}
    data = DataUsed.of(config.data, source)
    with begin_or_continue(
        "masks", config, folder, recorded=config, work=work, data=data, tags=tags, shown=("panels",)
    ) as live:
        predicted = predict_masks(segmenter, source, config, folder, where, address)
        scores = predicted.scores(config, source, masks_name(config.data))
        metrics = {name: score.value for name, score in scores.items()}
        _write(folder, predicted, scores, source.classes)
        archive = _archive(folder) if voc_submission else None
        live.outputs |= {"metrics": metrics, "notes": predicted.notes()}
        with warned("the scores could not be recorded", TrackingError):
            live.tracker.log_metrics(metrics, 0)
            live.tracker.set_tags({f"attn.protocol.{name}": score.hash for name, score in scores.items()})
            live.tracker.log_text("scores.json", folder.read_text("scores.json"))
        if config.record_in_training:
            usual, other = segmenter.inference, is_other_data(config.data, segmenter.config_file)
            plain = PlainScores(other, scales=usual.scales, flip=usual.flip, crf=usual.crf)
            add_to_training(live, config, model, scores, plain)
    return MasksResult(
        run_id=folder.run_id,
        folder=folder.uri,
        model=model,
        data=f"{data_name(config.data)} {config.data.split}",
        images=predicted.images,
        masked=len(predicted.masked),
        masks=folder.path(where) if config.masks or voc_submission else None,
        submission=archive,
        scores=metrics,
        protocols={name: score.hash for name, score in scores.items()},
        notes=predicted.notes(),
        per_class=predicted.rows(scores, source.classes),
        tracking_run=live.tracking_run,
        seconds=round(time.monotonic() - clock, 1),
    )


def resume(name: str, *, root: str = "runs", address: str | None = None) -> MasksResult:
    """Make again what was interrupted, by the config that it began with."""
    folder = RunFolder.of(name, root)
    submission, config = bool(folder.state().voc_submission), config_of(folder, SegmentPredictConfig)
    job = MasksJob.open(target_of(folder), config, voc_submission=submission)
    return run(job, run_id=folder.run_id, address=address)


def resolve_config(segmenter: Segmenter, overrides: list[str], name: str) -> SegmentPredictConfig:
    """The job's config: validation split and inference of the network's own run, changed by the overrides.

    Raises:
        ConfigError: With all faults.
    """
    inference = json.loads(segmenter.inference.model_dump_json())
    text: dict[str, Any] = {"tracking": {"enabled": False}, "inference": inference}
    cues = Path(beside(str(segmenter.config_file.parent), CUES))
    if (cues / CUES_FILE).is_file():
        text["cues"] = str(cues.absolute())
    if segmenter.config_file.is_file():
        trained = read_document(segmenter.config_file.read_text(encoding="utf-8"), name).values
        if "data" in trained:
            text["data"] = scored_data(trained)
    return resolve(SegmentPredictConfig, dump_values(text), name, overrides, defaults=scored_split)


def table(result: MasksResult) -> Table:
    """The result of `run` as a table for a terminal: one row a class, the mean last."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    scores = result.scores
    title = f"{result.data}: {counted(result.images, 'image')}, {result.masked} with masks; IoU in percent"
    drawn = Table(title=title, title_style="bold", title_justify="left", box=SIMPLE_HEAD, padding=0, pad_edge=False)
    drawn.add_column("class", overflow="fold")
    names = {"miou": "without CRF", "miou_crf": "with CRF"}
    for name in scores:
        drawn.add_column(names[name], justify="right", no_wrap=True)
    for row in result.per_class:
        drawn.add_row(row["class"], *(percent(row[name]) for name in scores))
    drawn.add_section()
    drawn.add_row("mean", *(percent(value) for value in scores.values()), style="bold")
    drawn.caption, drawn.caption_justify = "\n".join([*result.notes, result.folder]), "left"
    return drawn


def _write(folder: RunFolder, predicted: PredictedMasks, scores: dict[str, Score], classes: tuple[str, ...]) -> None:
    described = {
        "images": predicted.images,
        "masked": len(predicted.masked),
        "classes": ["background", *classes],
        "notes": predicted.notes(),
        "scores": {name: json.loads(score.to_json()) for name, score in scores.items()},
    }
    folder.write("scores.json", json.dumps(described, indent=1, allow_nan=False))
    rows = predicted.rows(scores, classes)
    if rows:
        folder.write("per_class.csv", csv_table(list(rows[0]), [list(row.values()) for row in rows]))
    for one in predicted.shown:
        folder.write(f"panels/{file_stem(one.image_id)}.png", panel(one).png())
    if predicted.shown:
        folder.write("sheet.png", sheet(predicted.shown[:SHEET_ROWS]).png())


def _archive(folder: RunFolder) -> str:
    """The folders of a submission as the one file that VOC's server takes."""
    path = folder.path("submission.tar.gz")
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder.path("results"), "results")
    return path
