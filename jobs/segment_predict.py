"""Masks of a trained segmentation network for any data, and their scores where the data has masks of its own."""

from __future__ import annotations

__all__ = ["crfs", "on_device", "resume", "run", "table"]

import contextlib
import csv
import io
import json
import tarfile
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from attn.config.document import dump_values, read_document
from attn.config.resolve import resolve
from attn.data.classes import check_classes
from attn.data.names import file_stem
from attn.data.sample import Example, Record
from attn.data.source import Source, fingerprint
from attn.errors import DataError, RunError, TrackingError
from attn.evaluation.confusion import confusion_matrix, mean_iou
from attn.evaluation.score import Protocol, Score
from attn.models.device import choose_device
from attn.pictures.preview import evenly_spaced
from attn.segmentation.bundle import Segmenter, load_segmenter
from attn.segmentation.config import SegmentPredictConfig
from attn.segmentation.crf_pool import CrfPool, LocalCrfPool, spare_cores
from attn.segmentation.labels import CUES_FILE, FileLabels, read_labels
from attn.segmentation.masks import encode_mask, mask_name
from attn.segmentation.networks import SegmentationNetwork
from attn.segmentation.pictures import Segmented, at_size, segmentation_panel, segmentation_sheet
from attn.segmentation.predict import Prediction, SegmentInferenceConfig, predict
from jobs.ray_cluster.crf_tasks import RayCrfPool
from jobs.ray_cluster.session import ray_session
from jobs.ray_cluster.tasks import Counter
from jobs.runs.lifecycle import begin_or_continue, resolved_overrides, target_of, warned
from jobs.runs.open_model import SCORED_SPLIT, data_name, masks_name, open_model, scored_data
from jobs.runs.run_folder import RunFolder, new_run_id
from jobs.training.segmenter import CUES

if TYPE_CHECKING:
    from rich.table import Table

SHEET_ROWS = 8
SUBMISSION = "results/VOC2012/Segmentation/comp6_{split}_cls"
"""Where VOC's server looks for masks of networks that saw other data, such as ImageNet."""


def run(
    model: str,
    overrides: list[str],
    *,
    voc_submission: bool = False,
    run_id: str | None = None,
    address: str | None = None,
) -> dict[str, Any]:
    """Make the masks of a network, and score them.

    Args:
        model: A bundle's folder, a run's id or folder, or a registered model as `name@alias` or `name/version`.
        overrides: `a.b=value`, over the network's own data and inference.
        voc_submission: Put the masks into the folders that VOC's evaluation server wants, and into one archive of them.
        run_id: Name of the job's folder; what lies there of an interrupted one is written again.
        address: A Ray cluster that computes the CRFs; without one, this machine's cores do.

    Returns:
        `run_id`, `folder`, `model`, `data`, `images`, `masked`, `masks` (folder), `submission` (archive), `scores` by
        name, `protocols` (hash by score), `notes`, `per_class` rows, `tracking_run`, `seconds`.

    Raises:
        AttnError: Network, config and data do not fit; the text says where.
    """
    clock = time.monotonic()
    with open_model(model, overrides, load_segmenter) as segmenter:
        config = resolve_config(segmenter, overrides, f"{model}: config.yaml")
    source = config.data.build(labels=False)
    check_classes(segmenter.classes, source.classes)
    if not source.records:
        raise DataError(f"data.split={config.data.split!r} has no images")
    folder = RunFolder(config.root, run_id or new_run_id("masks"))
    if voc_submission and not folder.is_local:
        raise RunError("--voc-submission makes an archive on this machine: set root to a local folder")
    where = SUBMISSION.format(split=Path(config.data.split).stem) if voc_submission else "masks"
    work = {"model": model, "target": model, "weights": segmenter.sha256, "voc_submission": voc_submission}
    tags = {"attn.model": model}
    with begin_or_continue("masks", config, folder, recorded=config, work=work, tags=tags) as live:
        made = _predict(segmenter, source, config, folder, where, address)
        scores = made.scores(config, source, masks_name(config.data))
        metrics = {name: score.value for name, score in scores.items()}
        _write(folder, made, scores, source.classes)
        archive = _archive(folder) if voc_submission else None
        live.outputs["metrics"] = metrics
        with warned("the scores could not be recorded", TrackingError):
            live.tracker.log_metrics(metrics, 0)
            live.tracker.set_tags({f"attn.protocol.{name}": score.hash for name, score in scores.items()})
            live.tracker.log_text("scores.json", folder.read_text("scores.json"))
    return {
        "run_id": folder.run_id,
        "folder": folder.uri,
        "model": model,
        "data": f"{data_name(config.data)} {config.data.split}",
        "images": made.images,
        "masked": len(made.masked),
        "masks": folder.path(where) if config.masks or voc_submission else None,
        "submission": archive,
        "scores": metrics,
        "protocols": {name: score.hash for name, score in scores.items()},
        "notes": made.notes(),
        "per_class": made.rows(scores, source.classes),
        "tracking_run": live.tracking_run,
        "seconds": round(time.monotonic() - clock, 1),
    }


def resume(name: str, *, root: str = "runs", address: str | None = None) -> dict[str, Any]:
    """Make again what was interrupted, by the config that it began with."""
    folder = RunFolder.of(name, root)
    state, overrides = folder.state(), resolved_overrides(folder)
    submission = bool(state.voc_submission)
    return run(target_of(folder), overrides, voc_submission=submission, run_id=folder.run_id, address=address)


def resolve_config(segmenter: Segmenter, overrides: list[str], name: str) -> SegmentPredictConfig:
    """The job's config: validation split and inference of the network's own run, changed by the overrides.

    Raises:
        ConfigError: With all faults.
    """
    inference = json.loads(segmenter.inference.model_dump_json())
    text: dict[str, Any] = {"tracking": {"enabled": False}, "inference": inference}
    cues = segmenter.config_file.parent.parent / CUES
    if (cues / CUES_FILE).is_file():
        text["cues"] = str(cues.absolute())
    if segmenter.config_file.is_file():
        trained = read_document(segmenter.config_file.read_text(encoding="utf-8"), name).values
        if "data" in trained:
            text["data"] = scored_data(trained)
    return resolve(SegmentPredictConfig, dump_values(text), name, overrides, defaults=SCORED_SPLIT)


def table(result: dict[str, Any]) -> Table:
    """The result of `run` as a table for a terminal: one row a class, the mean last."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    scores = result["scores"]
    title = f"{result['data']}: {result['images']} images, {result['masked']} with masks; IoU in percent"
    drawn = Table(title=title, title_style="bold", title_justify="left", box=SIMPLE_HEAD, padding=0, pad_edge=False)
    drawn.add_column("class", overflow="fold")
    names = {"miou": "without CRF", "miou_crf": "with CRF"}
    for name in scores:
        drawn.add_column(names[name], justify="right", no_wrap=True)
    for row in result["per_class"]:
        drawn.add_row(row["class"], *("-" if row[name] is None else f"{100 * row[name]:.1f}" for name in scores))
    drawn.add_section()
    drawn.add_row("mean", *(f"{100 * value:.1f}" for value in scores.values()), style="bold")
    drawn.caption, drawn.caption_justify = "\n".join([*result["notes"], result["folder"]]), "left"
    return drawn


def on_device(segmenter: Segmenter, device: str) -> SegmentationNetwork:
    """The network where it is to make masks: `auto`, `cpu` or `gpu`."""
    return segmenter.network.to(choose_device(device)).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


@contextlib.contextmanager
def crfs(inference: SegmentInferenceConfig, processes: int | None, address: str | None) -> Generator[CrfPool]:
    """The cores that CRFs run on, if there are any: those of a Ray cluster where it is asked for, else this machine's.

    Args:
        processes: Of this machine; None: one a core, and none beside this process where there is only one.
    """
    if address is None or inference.crf is None:
        with _local_crfs(processes if inference.crf else 0) as pool:
            yield pool
        return
    with ray_session(address):
        yield RayCrfPool()


@contextlib.contextmanager
def _local_crfs(processes: int | None) -> Generator[CrfPool]:
    """The network then runs on one thread, so that they do not get in each other's way."""
    cores = spare_cores()
    count = (cores if cores > 1 else 0) if processes is None else processes
    threads = torch.get_num_threads()
    if count and not torch.cuda.is_available():
        torch.set_num_threads(1)
    try:
        with LocalCrfPool(count) as pool:
            yield pool
    finally:
        torch.set_num_threads(threads)


@dataclass
class _Made:
    """What comes of a pass over the data."""

    config: SegmentPredictConfig
    matrices: dict[str, NDArray[np.int64]]
    images: int = 0
    masked: list[Record] = field(default_factory=list)
    shown: list[Segmented] = field(default_factory=list)

    def add(self, found: Prediction) -> None:
        self.images += 1
        example = found.example
        if example.mask is None:
            return
        self.masked.append(example.record)
        masks = {"miou": found.plain, "miou_crf": found.refined}
        for name, matrix in self.matrices.items():
            matrix += confusion_matrix(masks[name], example.mask, len(matrix))

    def scores(self, config: SegmentPredictConfig, source: Source, masks: str | None) -> dict[str, Score]:
        if not self.masked:
            return {}
        names = ("background", *source.classes)
        inference = config.inference
        plain = Protocol(
            source=data_name(config.data),
            split=config.data.split,
            images=len(self.masked),
            fingerprint=fingerprint(source.classes, self.masked),
            scored="masks",
            masks=masks,
            scales=inference.scales,
            flip=inference.flip,
            resize=inference.describe(),
        )
        protocols = {"miou": plain, "miou_crf": plain.model_copy(update={"crf": inference.crf})}
        scores = {}
        for name, matrix in self.matrices.items():
            value, per_class = mean_iou(matrix)
            if np.isnan(value):
                continue
            rows = {n: None if np.isnan(v) else float(v) for n, v in zip(names, per_class, strict=True)}
            left_out = [n for n, v in rows.items() if v is None]
            extras = {"left_out": left_out, "matrix": matrix.tolist()}
            scores[name] = Score(name=name, value=value, protocol=protocols[name], per_class=rows, extras=extras)
        return scores

    def rows(self, scores: dict[str, Score], classes: tuple[str, ...]) -> list[dict[str, Any]]:
        """One row a class, background first."""
        return [
            {"class": name} | {key: score.per_class[name] for key, score in scores.items()}
            for name in ("background", *classes)
            if scores
        ]

    def notes(self) -> list[str]:
        without = self.images - len(self.masked)
        found = [f"{without} of {self.images} images have no mask and do not count"] if without else []
        if self.masked and not self.matrices["miou"].any():
            found.append("the images' own masks are void throughout: there is nothing to score against")
        return found


def _predict(
    segmenter: Segmenter,
    source: Source,
    config: SegmentPredictConfig,
    folder: RunFolder,
    where: str,
    address: str | None,
) -> _Made:
    outputs = len(source.classes) + 1
    names = ["miou", *(["miou_crf"] if config.inference.crf else [])]
    made = _Made(config, {name: np.zeros((outputs, outputs), np.int64) for name in names})
    wanted = {source.records[index].image_id for index in evenly_spaced(source.records, config.panels)}
    network = on_device(segmenter, config.device)
    keep = config.masks or where != "masks"
    with crfs(config.inference, config.processes, address) as pool, Counter("masks", len(source.records)) as told:
        for found in predict(network, _examples(source), segmenter.input, config.inference, pool=pool):
            made.add(found)
            told(made.images)
            record = found.example.record
            if keep:
                folder.write(f"{where}/{mask_name(record.image_id)}", encode_mask(found.refined))
            if record.image_id in wanted:
                made.shown.append(_segmented(found, config, source.classes))
    return made


def _examples(source: Source) -> Iterator[Example]:
    for index in range(len(source.records)):
        yield source.load(index, saliency=False)


def _segmented(found: Prediction, config: SegmentPredictConfig, classes: Sequence[str]) -> Segmented:
    example = found.example
    return Segmented(
        example.record.image_id,
        example.image,
        cue=_cue(example, config, classes),
        plain=found.plain,
        refined=found.refined if config.inference.crf else None,
        truth=example.mask,
    )


def _cue(example: Example, config: SegmentPredictConfig, classes: Sequence[str]) -> NDArray[np.uint8] | None:
    if config.cues is None:
        return None
    try:
        reader = read_labels(FileLabels(path=config.cues), [example.record], classes)
    except DataError:
        return None  # it has none of this image, such as one of another split
    size = (example.image.shape[0], example.image.shape[1])
    return at_size(reader(example.record, size, None), size)


def _write(folder: RunFolder, made: _Made, scores: dict[str, Score], classes: tuple[str, ...]) -> None:
    described = {
        "images": made.images,
        "masked": len(made.masked),
        "classes": ["background", *classes],
        "notes": made.notes(),
        "scores": {name: json.loads(score.to_json()) for name, score in scores.items()},
    }
    folder.write("scores.json", json.dumps(described, indent=1, allow_nan=False))
    rows = made.rows(scores, classes)
    if rows:
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        folder.write("per_class.csv", text.getvalue())
    for one in made.shown:
        folder.write(f"panels/{file_stem(one.image_id)}.png", segmentation_panel(one).png())
    if made.shown:
        folder.write("sheet.png", segmentation_sheet(made.shown[:SHEET_ROWS]).png())


def _archive(folder: RunFolder) -> str:
    """The folders of a submission as the one file that VOC's server takes."""
    path = folder.path("submission.tar.gz")
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder.path("results"), "results")
    return path
