"""Predict labels, maps and masks of any images with a trained model, in this process or by a pool of others."""

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

from attn.config.base import is_remote
from attn.config.unused import unused_notices
from attn.errors import DataError
from attn.files.locations import FileFault, join
from attn.files.nearest import nearest_file
from attn.files.transfer import write_bytes
from attn.maps.settings import PLAIN
from attn.prediction import ImagePredictConfig, find_images
from attn.prediction.images import ImageFile
from attn.prediction.open import open_any
from attn.prediction.predictor import predictor_of
from attn.registry.lookup import open_model
from attn.runs.result import JsonResult
from attn.segmentation.masks import CLASSES_TABLE, MOST_CLASSES, classes_table
from attn.training.allocator import keep_freed_memory
from attn.wording import counted
from jobs.image_predictions import predict_images
from jobs.ray_cluster.worker_pool import is_alone
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
        predicted: How many images have results.
        images: The `prediction.json` of each of the first 1000.
        failed: `image` and `problem` of each that could not be read.
        summary: CSV table with a row for each image, in the order in which they were given.
    """

    model: str
    task: str
    weights: str
    maps: dict[str, Any]
    folder: str
    predicted: int
    images: list[dict[str, Any]]
    failed: list[dict[str, str]]
    summary: str
    seconds: float


def run(
    arguments: Sequence[str],
    *,
    model: str,
    out: str,
    config: ImagePredictConfig,
    address: str | None = None,
    tasks: int | None = None,
) -> PredictResult:
    """Predict. What an interrupted call with the same arguments has done is kept.

    Args:
        arguments: Images, folders of images, `s3://` URIs of both; and among them `root=` and `tracking.*=`, which
            select the runs and the registry in which models are looked up.
        model: A bundle's folder, a run's id or folder, or a registered model as `name@alias` or `name/version`.
        out: Folder or `s3://` prefix; each image has a folder of its own in it.
        address: A Ray cluster that does it, whose nodes reach images and results.
        tasks: Largest number of Ray processes that share the images; without an address by default this process alone.

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

    with open_model(model, model_lookup(overrides), open_any) as opened:
        own = config
        if not is_alone(address, tasks):  # other processes have devices and working directories of their own
            own = config.model_copy(update={"device": "cpu"})
            out = _absolute(out)
            images = {name: one._replace(location=_absolute(one.location)) for name, one in images.items()}
        predictor = predictor_of(opened, own)
        maps = maps_text(predictor.maps)
        done = predict_images(opened, predictor, images, out, config, maps=maps, address=address, tasks=tasks)
    if len(predictor.classes) <= MOST_CLASSES:  # else each image numbers its own labels
        write_bytes(join(out, CLASSES_TABLE), classes_table(predictor.classes))
    return PredictResult(
        model=model,
        task=predictor.task,
        weights=predictor.sha256,
        maps=predictor.maps,
        folder=out,
        predicted=done.predicted,
        images=done.images,
        failed=done.failed,
        summary=done.summary,
        seconds=round(time.monotonic() - started, 1),
    )


def maps_text(maps: Mapping[str, Any]) -> str:
    """How maps differ from plain ones, in a few words; empty if they do not.

    Args:
        maps: As `PredictResult` has them.
    """
    return maps_words(maps.get("scales", PLAIN.scales), bool(maps.get("flip")), maps.get("refinement"))


def _absolute(location: str) -> str:
    return location if is_remote(location) else os.path.abspath(location)


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
