"""Export the masks of predictions, of a run, or of stored maps for annotation tools, in this process."""

from __future__ import annotations

__all__ = ["ExportResult", "run"]

import shlex
from dataclasses import dataclass

from attn import progress, store
from attn.annotations.data_masks import masks_of_files, masks_of_maps
from attn.annotations.export import check_format, export_masks, require_new
from attn.annotations.format import Shapes
from attn.annotations.image import MaskedImage, MaskSet
from attn.annotations.predictions import has_predictions, read_predictions
from attn.config.base import local_path
from attn.config.document import dump_values, parse_override, read_document
from attn.config.resolve import resolve
from attn.data.classes import check_classes
from attn.data.soft_labels import StoredMaps, open_maps
from attn.errors import ConfigError, Fault, RunError
from attn.files.locations import list_files
from attn.prediction.classifier import THRESHOLD
from attn.runs.data import DataConfig
from attn.runs.layers import with_data
from attn.runs.result import JsonResult
from attn.runs.texts import LOCAL_TEXTS
from attn.tracking.model_lookup import ModelLookup
from jobs.next_commands import TRAINING
from jobs.runs.open_model import model_lookup, with_run_name
from jobs.runs.run_folder import RunFolder
from jobs.scoring.found_store import FoundStore, find_store, store_config, store_hint
from jobs.training.notices import tell_notices
from jobs.training.segmenter import CUES

MASKS = "masks"
FOLDERS = {"masks": MASKS, "cues": CUES}
"""Folder of the masks in the run's folder, by kind of run."""


@dataclass(frozen=True)
class ExportResult(JsonResult):
    """Exported masks.

    Attributes:
        source: As the user names it.
        masks: What they are of: `predictions`, `masks`, `cues` or `maps`.
        threshold: Of stored maps: share of a map's maximum.
        images, regions, empty: How many images and regions there are, and how many images have none.
    """

    source: str
    masks: str
    format: str
    folder: str
    classes: list[str]
    threshold: float | None
    images: int
    regions: int
    empty: int


class ExportedDataConfig(ModelLookup, DataConfig):
    """The data that masks are of, and where the run is that has them."""


def run(
    source: str,
    overrides: list[str],
    *,
    form: str,
    to: str,
    threshold: float | None = None,
    shapes: Shapes | None = None,
    copy: bool = True,
) -> ExportResult:
    """Export masks.

    Args:
        source: A folder of `attn predict`, a run with masks, cues or stored maps, or a map store (URI@VERSION, or its
            newest version).
        overrides: `root=`, and `data.*=` where the data is no longer as the run had it.
        form: A name of `attn.annotations.FORMATS`.
        to: New folder.
        threshold: Of stored maps only.
        shapes: Masks by default.
        copy: Copy the image files, too.

    Raises:
        AttnError: There are no such masks, the format cannot hold them, or the folder cannot be written.
    """
    check_format(form, shapes or Shapes())
    require_new(to)
    with progress.reading(source):
        what, masks = _open(source, with_data(overrides, LOCAL_TEXTS), threshold)
    with progress.task("export", masks.count, "images") as reported:

        def counted(image: MaskedImage) -> MaskedImage:
            reported.advance()
            return image

        done = export_masks(map(counted, masks.read()), masks.classes, form, to, shapes=shapes, copy=copy)
    return ExportResult(
        source=source,
        masks=what,
        format=form,
        folder=to,
        classes=list(masks.classes),
        threshold=(THRESHOLD if threshold is None else threshold) if what == "maps" else None,
        images=done.images,
        regions=done.regions,
        empty=done.empty,
    )


def _open(source: str, overrides: list[str], threshold: float | None) -> tuple[str, MaskSet]:
    """What the masks are of, and the masks."""
    place = local_path(source).rstrip("/")
    if has_predictions(place):
        _only_maps(threshold, "predictions have masks: predict with --threshold")
        _only_lookup(overrides, place)
        return "predictions", read_predictions(place)
    folder = _run_of(source, overrides)
    stored = find_store(with_run_name(source), overrides)
    if stored is None and folder is not None and (location := folder.state().store) is not None:
        stored = FoundStore(location)
    if stored is not None:
        if folder is not None:
            _tell_unfinished(folder)
        return "maps", _maps(stored, overrides, THRESHOLD if threshold is None else threshold)
    if folder is None:
        raise RunError(
            f"{source} is no folder of `attn predict`, no map store, and no run in {model_lookup(overrides).root}: "
            f"give one of them, and --root where runs are elsewhere"
        )
    kind, folder = _masks_run(folder)
    _tell_unfinished(folder)
    _only_maps(threshold, f"run {folder.run_id!r} has masks")
    config = _data_of(folder, overrides)
    return kind, masks_of_files(config.data.build(labels=False), folder.path(FOLDERS[kind]))


def _run_of(source: str, overrides: list[str]) -> RunFolder | None:
    """The run that a name, its folder, or the folder of masks in it means."""
    place = local_path(source).rstrip("/")
    above, _, name = place.rpartition("/")
    for run in (place, above) if name in FOLDERS.values() and above else (place,):
        try:
            folder = RunFolder.of(run, model_lookup(overrides).root)
        except RunError:  # a name that no run can have
            continue
        if folder.exists():
            return folder
    return None


def _tell_unfinished(folder: RunFolder) -> None:
    if (state := folder.state().state) != "done":
        tell_notices([f"run {folder.run_id!r} is not done ({state}): only what it has so far is exported"])


def _masks_run(folder: RunFolder) -> tuple[str, RunFolder]:
    """Kind and folder of the run with the masks: of a pipeline, that of its stage `evaluation`.

    Raises:
        RunError: It has none.
    """
    state, whole = folder.state(), folder
    if state.kind == "pipeline" and (stage := (state.stages or {}).get("evaluation")) is not None:
        folder = RunFolder.of(stage.folder or stage.run_id, folder.root)
        state = folder.state()
    kind, name = str(state.kind), folder.reference
    if kind in FOLDERS and list_files(folder.path(FOLDERS[kind])):
        return kind, folder
    hints = {
        "segment": f"`attn segment predict {shlex.quote(name)}` makes some",
        "train": f"`attn predict IMAGE... --model {shlex.quote(name)}` makes some",
        "masks": "predict again without masks=false and --voc-submission",
    }
    if (unfinished := whole.state()).state != "done" and kind not in TRAINING:
        raise RunError(
            f"run {whole.run_id!r} ({unfinished.kind}) has no masks to export, as it is not done ({unfinished.state}): "
            f"`attn status {shlex.quote(whole.reference)}` shows how far it is"
        )
    raise RunError(f"run {folder.run_id!r} ({kind}) has no masks to export: {hints.get(kind, 'name another run')}")


def _data_of(folder: RunFolder, overrides: list[str]) -> DataConfig:
    file = folder.path("config.yaml")
    values = read_document(folder.read_text("config.yaml"), file).values
    return resolve(ExportedDataConfig, dump_values({"data": values.get("data")}), file, overrides)


def _maps(stored: FoundStore, overrides: list[str], threshold: float) -> MaskSet:
    if not 0 <= threshold < 1:
        raise ConfigError([Fault("--threshold", f"{threshold:g} is not valid", "a number from 0 to below 1")])
    config = store_config(ExportedDataConfig, stored.location, overrides, run=stored.run)
    source, opened = config.data.build(), store.open(stored.location)
    snapshot = opened.at(stored.version)
    predicted = snapshot.manifest.metadata.get("classes") == "predicted"
    if not predicted:
        hint = store_hint(stored.location, config.data.split)
        snapshot = open_maps(StoredMaps(stored.location, snapshot.version), source, hint)
    elif opened.definition.classes:
        check_classes(opened.definition.classes, source.classes, what=opened.uri)
    return masks_of_maps(source, snapshot, threshold, predicted=predicted)


def _only_maps(threshold: float | None, why: str) -> None:
    if threshold is not None:
        raise ConfigError([Fault("--threshold", f"is for stored maps, and {why}", "leave it out")])


def _only_lookup(overrides: list[str], place: str) -> None:
    """Check that no data is given for predictions, which name their images."""
    for text in overrides:
        key = parse_override(text)
        if not isinstance(key, Fault) and key[0][0] == "data":
            raise ConfigError([Fault(".".join(key[0]), f"{place} names its images itself", "leave it out")])
