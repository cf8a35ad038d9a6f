"""Predict labels, maps and masks of any images with a trained model, in this process."""

from __future__ import annotations

__all__ = ["OF_MAPS", "PredictResult", "maps_text", "run"]

import os
import posixpath
import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from attn import progress
from attn.config.base import is_remote
from attn.config.unused import unused_notices
from attn.errors import DataError
from attn.files.locations import FileFault, join
from attn.files.nearest import nearest_file
from attn.files.spreadsheet import csv_table
from attn.files.transfer import write_bytes
from attn.maps.settings import PLAIN
from attn.prediction import ImagePredictConfig, Predictor, find_images, open_predictor, predict_file, write_prediction
from attn.prediction.images import ImageFile
from attn.prediction.summary import COLUMNS, SUMMARY, Row, fault_row, summary_row
from attn.redaction import without_secrets
from attn.registry.lookup import open_model
from attn.runs.result import JsonResult
from attn.segmentation.masks import CLASSES_TABLE, MOST_CLASSES, classes_table
from attn.training.allocator import keep_freed_memory
from attn.wording import counted
from jobs.runs.about import maps_words
from jobs.runs.open_model import model_lookup
from jobs.training.notices import tell_notices

LOOKUP = re.compile(r"(root|tracking\.\w+)=")
OF_MAPS = re.compile(r"maps(\.\w+)*=")
"""A field of the config that is given among the images, as other commands have it."""


@dataclass(frozen=True)
class PredictResult(JsonResult):
    """Predictions of a model.

    Attributes:
        weights: SHA-256.
        maps: How a classifier's maps differ from plain ones: `scales`, `flip` and `refinement`, as far as they do.
        folder: Each image has a folder of its own in it.
        images: The `prediction.json` of each.
        failed: `image` and `problem` of each that could not be read.
        summary: CSV table with a row for each image, in the order in which they were given.
    """

    model: str
    task: str
    weights: str
    maps: dict[str, Any]
    folder: str
    images: list[dict[str, Any]]
    failed: list[dict[str, str]]
    summary: str
    seconds: float


def run(arguments: Sequence[str], *, model: str, out: str, config: ImagePredictConfig) -> PredictResult:
    """Predict.

    Args:
        arguments: Images, folders of images, `s3://` URIs of both; and among them `root=` and `tracking.*=`, which
            select the runs and the registry in which models are looked up.
        model: A bundle's folder, a run's id or folder, or a registered model as `name@alias` or `name/version`.
        out: Folder or `s3://` prefix; each image has a folder of its own in it.

    Raises:
        AttnError: There is no such model or image, or the folder cannot be written.
    """
    started = time.monotonic()
    keep_freed_memory()
    tell_notices(unused_notices(config))
    images = find_images(text for text in arguments if not LOOKUP.match(text))
    if not images:
        raise DataError("no image is given: attn predict IMAGE... --model MODEL")
    _check_files(images)
    _tell_folders(images)
    overrides = [text for text in arguments if LOOKUP.match(text)]

    def load(target: Any, root: str) -> Predictor:
        return open_predictor(target, config, root)

    with open_model(model, model_lookup(overrides), load) as predictor:
        done, failed, rows = _predict(predictor, images, out, config.max_pixels)
    if len(predictor.classes) <= MOST_CLASSES:  # else each image numbers its own labels
        write_bytes(join(out, CLASSES_TABLE), classes_table(predictor.classes))
    summary = join(out, SUMMARY)
    write_bytes(summary, csv_table(COLUMNS, rows).encode())
    return PredictResult(
        model=model,
        task=predictor.task,
        weights=predictor.sha256,
        maps=predictor.maps,
        folder=out,
        images=done,
        failed=failed,
        summary=summary,
        seconds=round(time.monotonic() - started, 1),
    )


def maps_text(maps: Mapping[str, Any]) -> str:
    """How maps differ from plain ones, in a few words; empty if they do not.

    Args:
        maps: As `PredictResult` has them.
    """
    return maps_words(maps.get("scales", PLAIN.scales), bool(maps.get("flip")), maps.get("refinement"))


def _check_files(images: dict[str, ImageFile]) -> None:
    """Refuse files of this machine that are not there; before the model is opened.

    Raises:
        FileFault: With the nearest file that is there.
    """
    for image in images.values():
        if not is_remote(image.location) and not os.path.lexists(image.location):
            near = nearest_file(image.location)
            raise FileFault(image.location, "there is no such file" + (f"; did you mean {near}?" if near else ""))


def _tell_folders(images: dict[str, ImageFile]) -> None:
    """Say how many folders images were found in, where these are not only the folders that were given."""
    below = {folder for image in images.values() if (folder := posixpath.dirname(image.image_id))}
    if below:
        folders = {posixpath.dirname(image.location) for image in images.values()}
        print(f"{counted(len(images), 'image')} in {counted(len(folders), 'folder')}", file=sys.stderr, flush=True)


def _predict(
    predictor: Predictor, images: dict[str, ImageFile], out: str, max_pixels: int
) -> tuple[list[dict[str, Any]], list[dict[str, str]], list[Row]]:
    done: list[dict[str, Any]] = []
    failed: list[dict[str, str]] = []
    rows: list[Row] = []
    for name, (location, image_id) in progress.steps_of(images.items(), "predictions", len(images), "images"):
        try:
            prediction = predict_file(predictor, location, max_pixels, "--max-pixels")
        except DataError as fault:
            problem = fault.problem if isinstance(fault, FileFault) else str(fault)
            failed.append({"image": without_secrets(location), "problem": problem})
            rows.append(fault_row(without_secrets(location), image_id, problem))
            continue
        done.append(write_prediction(prediction, location, join(out, name)))
        rows.append(summary_row(without_secrets(location), image_id, done[-1], maps_text(predictor.maps)))
    return done, failed, rows
