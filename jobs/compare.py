"""One picture of several trained models' maps on the same images, beside the truth."""

from __future__ import annotations

__all__ = ["CompareJob", "CompareResult", "load", "resume", "run"]

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from attn.config.document import override_of
from attn.data.names import file_stem
from attn.data.source import Source
from attn.data.view import SourceView
from attn.errors import ConfigError, DataError, RunError, TrackingError
from attn.evaluation.inference import ImageMaps
from attn.pictures.comparison import comparison
from attn.pictures.layout import Picture, heading
from attn.pictures.preview import evenly_spaced, panel_data
from attn.pictures.tiles import PanelData
from attn.runs.layers import with_data
from attn.runs.result import IF_GIVEN, RunResult
from attn.runs.texts import LOCAL_TEXTS
from jobs.runs.lifecycle import begin_or_continue, warned
from jobs.runs.open_model import data_name
from jobs.runs.run_folder import RunFolder, new_run_id
from jobs.scoring.targets import EvaluationTarget, ModelTarget, StoreTarget, open_target
from jobs.scoring.visual_confusion import ConfusionTarget, confusion_pictures

FILE = "comparison.png"


@dataclass(frozen=True, kw_only=True)
class CompareResult(RunResult):
    """A picture of several models' maps.

    Attributes:
        picture: Its file.
        images: Ids of the images on it.
        overlap: With `confusion`: by model and layer the mean soft IoU of both maps over all images (ICASC eq. 6).
    """

    picture: str
    images: list[str]
    tracking_run: str | None
    overlap: dict[str, dict[str, float]] | None = field(default=None, metadata=IF_GIVEN)


@dataclass(frozen=True)
class CompareJob:
    """Models and map stores to draw side by side.

    Attributes:
        targets: The name of each model or store, as the user gave it, by the title of its row.
        overrides: `a.b=value`, as the user gave them.
        opened: The models and stores by title, all on the same data.
        confusion: Draw for each image and model the maps of its classes and of the class that it is most easily
            mistaken for instead, at two layers (`attn.pictures.confusion`).
    """

    targets: dict[str, str]
    overrides: list[str]
    opened: dict[str, EvaluationTarget]
    confusion: bool = False


def load(targets: Mapping[str, str], overrides: list[str], *, confusion: bool = False) -> CompareJob:
    """Open the models and map stores to compare.

    Args:
        targets: Models or map stores, named as for `evaluate`, by the title of their row.
        overrides: `a.b=value`, over the data of each; `panels` images are drawn, evenly spaced over the data.
        confusion: As in `CompareJob`.

    Raises:
        AttnError: There is no such model, or they are not on the same images.
    """
    if not targets:
        raise ConfigError("nothing to compare: name at least one trained model or map store")
    overrides = with_data(overrides, LOCAL_TEXTS)
    opened = {title: open_target(target, overrides) for title, target in targets.items()}
    first_title, first = next(iter(opened.items()))
    for title, target in opened.items():
        if target.source.fingerprint() != first.source.fingerprint():
            raise DataError(f"{title} is on other images than {first_title}: give the same data.* for all of them")
    return CompareJob(dict(targets), list(overrides), opened, confusion)


def run(job: CompareJob, *, run_id: str | None = None, address: str | None = None) -> CompareResult:
    """Draw one row a model and one column an (image, class), the images on top and their masks at the bottom.

    Args:
        run_id: Name of the job's folder; what lies there of an interrupted one is written again.
        address: Without meaning: the work is done in this process.

    Raises:
        AttnError: There is nothing to draw, or the picture cannot be written.
    """
    opened, first = job.opened, next(iter(job.opened.values()))
    config = first.config
    images = evenly_spaced(first.source.records, config.panels)
    if not images:
        raise DataError(f"no image to draw: panels={config.panels}, or none of the images has a label")
    confused = {title: ConfusionTarget.of(title, target) for title, target in opened.items()} if job.confusion else {}
    folder = RunFolder(config.root, run_id or new_run_id("compare"))
    changed = [text for text in job.overrides if not text.startswith("root=")]
    work = {"compared": job.targets, "overrides": changed, "confusion": job.confusion}
    tags = {"attn.compared": str(job.targets)}
    with begin_or_continue("compare", config, folder, recorded=config, work=work, tags=tags) as live:
        subtitle = f"{data_name(config.data)} {config.data.split}"
        overlap: dict[str, dict[str, float]] | None = None
        if confused:
            result = confusion_pictures(confused, images, subtitle)
            overlap = live.outputs["overlap"] = result.overlap
            pictures = {FILE: result.overview}
            pictures |= {f"panels/{file_stem(name)}.png": panel for name, panel in result.panels.items()}
        else:
            pictures = {FILE: _picture({title: _panels(target, images) for title, target in opened.items()}, subtitle)}
        for name, picture in pictures.items():
            folder.write(name, picture.png())
        with warned("the pictures could not be recorded", TrackingError):
            if overlap is not None:
                live.tracker.log_text("overlap.json", json.dumps(overlap, indent=1))
            for name, picture in pictures.items():
                live.tracker.log_picture(name, picture.pixels)
    return CompareResult(
        run_id=folder.run_id,
        folder=folder.uri,
        picture=folder.path(FILE),
        images=[first.source.records[index].image_id for index in images],
        tracking_run=live.tracking_run,
        overlap=overlap,
    )


def resume(name: str, *, root: str = "runs", address: str | None = None) -> CompareResult:
    """Draw again what was interrupted."""
    folder = RunFolder.of(name, root)
    state = folder.state()
    if state.compared is None or state.overrides is None:
        raise RunError(f"run {folder.run_id!r} does not say what it compares: begin a new one")
    overrides = [*state.overrides, override_of("root", folder.root)]
    return run(load(state.compared, overrides, confusion=bool(state.confusion)), run_id=folder.run_id)


def _panels(target: EvaluationTarget, images: list[int]) -> list[PanelData]:
    """One model's or store's maps of a few of its images."""
    assert isinstance(target, ModelTarget | StoreTarget)
    source: Source = SourceView(target.source, images, target.source.classes)
    index_of = {record.image_id: index for index, record in enumerate(source.records)}
    panels: list[PanelData] = []

    def keep(maps: ImageMaps) -> None:
        example = source.load(index_of[maps.record.image_id], saliency=False)
        panels.append(panel_data(maps, example, source.classes))

    replace(target, source=source).evaluate(keep)
    return panels


def _picture(rows: Mapping[str, list[PanelData]], subtitle: str) -> Picture:
    return heading(comparison(rows), "Where the classifiers look", subtitle)
