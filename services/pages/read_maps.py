"""Reads maps, images and masks for the pages of maps. It needs PyTorch: see `workers`.

Stores, versions and data sets that were read last stay open in the process, so that an image is one read of its maps.
Shapes: H×W image, h×w grid of the store.
"""

from __future__ import annotations

__all__ = ["collection_at", "collections_of", "describe", "image_view", "map_png", "part_png", "photo", "rank"]

import contextlib
import functools
import hashlib
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from attn import store
from attn.data.decode import read_mask
from attn.data.source import MAX_CLASSES, Source
from attn.errors import AttnError, DataError
from attn.evaluation.stored import maps_at_size
from attn.files.locations import join, read_bytes
from attn.files.transfer import exists
from attn.pictures.palette import CLASS_COLORS
from attn.runs.growth import GrowthConfig
from attn.saliency.config import SaliencySettings
from attn.saliency.source import SaliencySource, with_saliency
from attn.segmentation.masks import mask_name
from attn.store import MapStore, Snapshot
from jobs.runs.listing import list_runs
from jobs.runs.run_folder import RunFolder
from jobs.scoring.found_store import store_config, stores_of_run
from services.pages.map_view import THRESHOLDS, Collection, ImageView, MapIndex, Ranked, VersionView

SIDE = 1024
"""The longest side of an image that is sent."""
IGNORED = 255
SALIENT = 0.5
VOID = (232, 232, 232)


def collections_of(root: str, run_id: str) -> list[Collection]:
    """The stores of a run, with the cues and masks of the pipelines that the run is, or is a stage of."""
    folder = RunFolder.of(run_id, root)
    cues, masks = [folder.path("cues")], [folder.path("masks")]
    for state in list_runs(root):
        stages = [stage.folder for stage in (state.stages or {}).values() if stage.folder is not None]
        if state.id == run_id or folder.uri in stages:
            cues += [join(stage, "cues") for stage in reversed(stages)]
            masks += [join(stage, "masks") for stage in reversed(stages)]
    return [
        Collection(uri, _identity(uri), _run_of(uri), tuple(cues), tuple(masks)) for uri in stores_of_run(run_id, root)
    ]


def collection_at(uri: str) -> list[Collection]:
    """The store at a location."""
    return [Collection(uri, _identity(uri))]


def describe(collection: Collection) -> MapIndex:
    """What a store holds.

    Raises:
        StoreError: It cannot be read.
    """
    opened = _store(collection)
    newest = {run: opened.newest(run).version for run in opened.runs}
    versions = [
        VersionView(one.version, one.run, one.epoch + 1)
        for one, live in opened.history()
        if live and one.version <= newest.get(one.run, 0) and not one.pending
    ]
    names, fault = dict(enumerate(opened.definition.classes)), ""
    try:
        names = dict(enumerate(_source(collection).classes))
    except AttnError as error:
        fault = str(error)
    counts = np.bincount(opened.rows.classes)
    images = {index: int(count) for index, count in enumerate(counts) if count}
    classes = {index: names.get(index, f"class {index}") for index in images}
    return MapIndex(opened.uri, opened.grid, classes, images, sorted(versions, key=lambda one: one.version), fault)


def image_ids(collection: Collection, class_index: int) -> list[str]:
    """The images that have a row of a class, in the store's order."""
    rows = _store(collection).rows
    positions = np.searchsorted(rows.starts, np.flatnonzero(rows.classes == class_index), side="right") - 1
    return [rows.images[int(position)].decode() for position in positions]


def image_view(collection: Collection, image_id: str) -> ImageView:
    """What there is of one image.

    Raises:
        DataError: There is no such image.
    """
    rows = _store(collection).rows
    start, stop = rows.find(image_id)
    if start == stop:
        raise DataError(f"{collection.uri} has no image {image_id!r}")
    classes = tuple(rows.classes[start:stop].tolist())
    parts: list[str] = []
    title, size = image_id, _store(collection).grid
    with contextlib.suppress(AttnError):
        source = _source(collection)
        record = source.records[_index(collection, image_id)]
        title, size = record.title, _example(collection, image_id)[0].shape[:2]
        parts += ["truth"] if record.mask else []
        parts += ["saliency"] if record.saliency else []
    parts += [name for name in ("cue", "mask") if _drawn(collection, name, image_id) is not None]
    return ImageView(image_id, title, classes, size, tuple(parts))


def map_png(collection: Collection, version: int | None, image_id: str, class_index: int) -> bytes:
    """A map as a grey PNG on the store's grid, 255 for 1; zero everywhere where the version has none.

    Raises:
        DataError: There is no such row.
    """
    snapshot = _snapshot(collection, version)
    if class_index not in snapshot.classes_of(image_id):
        raise DataError(f"{collection.uri} has no map of image {image_id!r} and class {class_index}")
    stored = snapshot[image_id].get(class_index)
    grid = _store(collection).grid
    return _png(Image.fromarray(np.zeros(grid, np.uint8) if stored is None else stored))


def photo(collection: Collection, image_id: str, side: int) -> bytes:
    """An image as a JPEG, its longest side at most `side` and `SIDE`.

    Raises:
        DataError: It cannot be read.
    """
    picture = Image.fromarray(_example(collection, image_id)[0])
    picture.thumbnail((min(side, SIDE), min(side, SIDE)))
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=85)
    return stream.getvalue()


def part_png(collection: Collection, name: str, image_id: str) -> bytes:
    """The truth, the saliency, the cue or the predicted mask of an image as a PNG.

    Raises:
        DataError: There is none.
    """
    if name == "saliency":
        saliency = _source(collection).load(_index(collection, image_id), mask=False).saliency
        if saliency is not None:
            return _png(Image.fromarray(saliency))
    mask = _example(collection, image_id)[1] if name == "truth" else _drawn(collection, name, image_id)
    if mask is None:
        raise DataError(f"image {image_id!r} has no {name}")
    picture = Image.fromarray(mask, "P")
    picture.putpalette(_palette())
    return _png(picture)


def rank(collection: Collection, version: int | None, class_index: int, start: int, count: int) -> list[Ranked]:
    """Scores of some images of a class, for every threshold.

    Args:
        start: Position of the first in `image_ids`.
    """
    snapshot = _snapshot(collection, version)
    return [
        _ranked(collection, snapshot, image_id, class_index)
        for image_id in image_ids(collection, class_index)[start : start + count]
    ]


def _ranked(collection: Collection, snapshot: Snapshot, image_id: str, class_index: int) -> Ranked:
    stored = snapshot[image_id].get(class_index)
    try:
        index = _index(collection, image_id)
        has_mask = _source(collection).records[index].mask is not None
        example = (_source if has_mask else _salient)(collection).load(index, mask=has_mask, saliency=not has_mask)
    except AttnError:
        return Ranked(image_id, None, by_mask=False)
    if has_mask and example.mask is not None:
        known, object_HW = example.mask != IGNORED, example.mask == class_index + 1
    elif example.saliency is not None:
        known, object_HW = np.ones(example.saliency.shape, bool), example.saliency > SALIENT * 255
    else:
        return Ranked(image_id, None, by_mask=False)
    if stored is None:
        map_HW = np.zeros(object_HW.shape, np.float32)
    else:
        map_HW = maps_at_size({class_index: stored}, (object_HW.shape[0], object_HW.shape[1]))[class_index]
    return Ranked(image_id, ious(map_HW[known], object_HW[known]), by_mask=has_mask)


def ious(map_N: NDArray[np.float32], object_N: NDArray[np.bool_]) -> tuple[float, ...]:
    """IoU of an object with where a map exceeds each threshold; 0 where both are empty."""
    bounds = np.asarray(THRESHOLDS, np.float32)
    exceeded = np.searchsorted(bounds, map_N, side="left")
    claimed, both = (
        np.bincount(values, minlength=len(bounds) + 1)[::-1].cumsum()[::-1][1:]
        for values in (exceeded, exceeded[object_N])
    )
    union = claimed + int(object_N.sum()) - both
    return tuple((both / np.maximum(union, 1)).tolist())


def _identity(uri: str) -> str:
    return hashlib.sha256(read_bytes(join(uri, "store.json"))).hexdigest()


def _run_of(uri: str) -> str | None:
    above = uri.rpartition("/")[0]
    return above if exists(join(above, "config.yaml")) else None


def _drawn(collection: Collection, name: str, image_id: str) -> NDArray[np.uint8] | None:
    """The cue or predicted mask of an image at its size; None if there is none."""
    for folder in collection.cues if name == "cue" else collection.masks:
        file = join(folder, mask_name(image_id))
        if exists(file):
            with contextlib.suppress(AttnError):
                size = _example(collection, image_id)[0].shape[:2]
                return read_mask(file, (size[0], size[1]), MAX_CLASSES)
    return None


@functools.lru_cache(maxsize=32)
def _store(collection: Collection) -> MapStore:
    return store.open(collection.uri)


@functools.lru_cache(maxsize=32)
def _versioned(collection: Collection, version: int) -> Snapshot:
    return _store(collection).at(version)


def _snapshot(collection: Collection, version: int | None) -> Snapshot:
    return _store(collection).at() if version is None else _versioned(collection, version)


@functools.lru_cache(maxsize=8)
def _source(collection: Collection) -> Source:
    return store_config(GrowthConfig, collection.uri, [], run=collection.run).data.build(labels=False)


@functools.lru_cache(maxsize=8)
def _salient(collection: Collection) -> Source:
    """The data with saliency: its own where all images have one, else that of colours unlike the border's."""
    source = _source(collection)
    given = all(record.saliency is not None for record in source.records)
    salient = with_saliency(source, "given" if given else "border", SaliencySettings(), root=None, field="saliency")
    assert isinstance(salient, SaliencySource)
    return salient


@functools.lru_cache(maxsize=8)
def _positions(collection: Collection) -> dict[str, int]:
    return {record.image_id: index for index, record in enumerate(_source(collection).records)}


def _index(collection: Collection, image_id: str) -> int:
    if image_id not in _positions(collection):
        raise DataError(f"the data has no image {image_id!r}")
    return _positions(collection)[image_id]


@functools.lru_cache(maxsize=16)
def _example(collection: Collection, image_id: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """An image and its mask; the last ones stay, since a page asks for each of them several times."""
    example = _source(collection).load(_index(collection, image_id), saliency=False)
    return example.image, example.mask


@functools.cache
def _palette() -> list[int]:
    colors = [(24, 24, 28), *(CLASS_COLORS[index % len(CLASS_COLORS)] for index in range(254)), VOID]
    return [channel for color in colors for channel in color]


def _png(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()
