"""One picture of several trained models' maps on the same images, beside the truth."""

from __future__ import annotations

__all__ = ["run"]

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from attn.data.source import Source
from attn.data.view import SourceView
from attn.errors import ConfigError, DataError
from attn.evaluation.inference import ImageMaps
from attn.pictures.layout import Picture, heading
from attn.pictures.panel import Looked, comparison
from attn.pictures.preview import looked_at, spread
from attn.tracking import attach, create_run
from jobs.models import data_name
from jobs.run_folder import RunFolder, new_run_id
from jobs.subjects import ModelSubject, StoreSubject, Subject, open_subject
from jobs.visual_confusion import ConfusionSubject, confusion_picture

FILE = "comparison.png"


def run(targets: Mapping[str, str], overrides: list[str], *, confusion: bool = False) -> dict[str, Any]:
    """Draw one row a model and one column an (image, class), the images on top and their masks at the bottom.

    Args:
        targets: What the rows are called, and whose maps they show: models or map stores, named as for `evaluate`.
        overrides: `a.b=value`, over the data of each; `panels` says how many images are drawn, spread over the data.
        confusion: Draw for each image and model the maps of its classes and of the class that it is most easily
            mistaken for instead, at two layers (`attn.pictures.confusion`).

    Returns:
        `run_id`, `folder`, `picture`, `images` by name, `tracking_run`; with `confusion` also `overlap`: by model and
        layer the mean soft IoU of both maps over all images (ICASC eq. 6).

    Raises:
        AttnError: There is no such model, or they are not on the same images.
    """
    if not targets:
        raise ConfigError("nothing to compare: name at least one trained model or map store")
    started = time.time()
    subjects = {title: open_subject(target, overrides) for title, target in targets.items()}
    first_title, first = next(iter(subjects.items()))
    images = spread(first.source.records, first.config.panels)
    if not images:
        raise DataError(f"no image to draw: panels={first.config.panels}, or none of the images has a label")
    for title, subject in subjects.items():
        if subject.source.fingerprint() != first.source.fingerprint():
            raise DataError(f"{title} is on other images than {first_title}: give the same data.* for all of them")
    confused = {title: ConfusionSubject.of(title, subject) for title, subject in subjects.items()} if confusion else {}
    config = first.config
    folder = RunFolder(config.root, new_run_id("compare"))
    tracking_run = create_run(config.tracking, config.root, folder.run_id, config, tags={"attn.compared": str(targets)})
    folder.update(kind="compare", state="running", started=started, tracking_run=tracking_run, compared=dict(targets))
    tracker = attach(config.tracking, config.root, tracking_run)
    found: dict[str, Any] = {}
    try:
        subtitle = f"{data_name(config.data)} {config.data.split}; outline: the object"
        if confused:
            picture, overlap = confusion_picture(confused, images, subtitle)
            found["overlap"] = overlap
            tracker.log_text("overlap.json", json.dumps(overlap, indent=1))
        else:
            picture = _picture({title: _look(subject, images) for title, subject in subjects.items()}, subtitle)
        folder.write(FILE, picture.png())
        if tracking_run is not None and folder.is_local:
            tracker.log_files(Path(folder.path(FILE)))
    except BaseException as error:
        state = "cancelled" if isinstance(error, KeyboardInterrupt) else "failed"
        folder.update(state=state, ended=time.time(), error=str(error))
        tracker.terminate(state)
        raise
    folder.update(state="done", ended=time.time(), **found)
    tracker.terminate("done")
    return {
        "run_id": folder.run_id,
        "folder": folder.uri,
        "picture": folder.path(FILE),
        "images": [first.source.records[index].image_id for index in images],
        "tracking_run": tracking_run,
        **found,
    }


def _look(subject: Subject, images: list[int]) -> list[Looked]:
    """What one model or store makes of a few of its images."""
    assert isinstance(subject, ModelSubject | StoreSubject)
    source: Source = SourceView(subject.source, images, subject.source.classes)
    place = {record.image_id: index for index, record in enumerate(source.records)}
    looked: list[Looked] = []

    def keep(maps: ImageMaps) -> None:
        example = source.load(place[maps.record.image_id], saliency=False)
        looked.append(looked_at(maps, example, source.classes))

    replace(subject, source=source).evaluate(keep)
    return looked


def _picture(rows: Mapping[str, list[Looked]], subtitle: str) -> Picture:
    return heading(comparison(rows), "Where the classifiers look", subtitle)
