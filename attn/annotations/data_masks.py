"""Masks of the images of a data set: files that a run has written, or stored maps with a threshold.

Shapes: H0×W0 image.
"""

from __future__ import annotations

__all__ = ["file_name", "masks_of_files", "masks_of_maps"]

import io
import posixpath
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from attn.annotations.image import MaskedImage, MaskSet
from attn.data.decode import read_mask
from attn.data.sample import Record
from attn.data.source import Source, files_for
from attn.errors import DataError
from attn.evaluation.stored import maps_at_size
from attn.files.locations import name_of, read_bytes
from attn.prediction.classifier import mask_of_maps
from attn.segmentation.masks import mask_name

if TYPE_CHECKING:
    from attn.store import Snapshot


def masks_of_files(source: Source, folder: str) -> MaskSet:
    """The index PNGs `<image id>.png` of a folder: 0 background, class index + 1, 255 open.

    Raises:
        DataError: The folder has no mask of any image.
    """
    names = [mask_name(record.image_id).removesuffix(".png") for record in source.records]
    masks = files_for(folder, names)
    there = [(position, mask) for position, mask in enumerate(masks) if mask is not None]
    if not there:
        raise DataError(f"{folder} has no mask of any of the {len(masks)} images: give the data that the masks are of")

    def read() -> Iterator[MaskedImage]:
        for position, mask in there:
            yield _masked(source, position, read_mask(mask, None, len(source.classes)))

    return MaskSet(tuple(source.classes), len(there), read)


def masks_of_maps(source: Source, snapshot: Snapshot, threshold: float, *, predicted: bool) -> MaskSet:
    """Masks of stored maps: a pixel belongs to the class with the largest map, if this exceeds a threshold.

    Each map is resized to the image, and divided by its maximum there.

    Args:
        snapshot: See `attn.data.soft_labels.open_maps`.
        threshold: Share of a map's maximum.
        predicted: The maps are of predicted classes; else those of the images' labels are used.
    """

    def read() -> Iterator[MaskedImage]:
        for position, record in enumerate(source.records):
            try:
                pixels = source.load(position, mask=False, saliency=False).image
            except DataError:
                if source.on_error == "raise":
                    raise
                continue
            maps = _maps(snapshot, record, predicted=predicted)
            size = (pixels.shape[0], pixels.shape[1])
            numbered = {index + 1: values for index, values in maps_at_size(maps, size).items()}
            yield _masked(source, position, mask_of_maps(numbered, size, threshold=threshold))

    return MaskSet(tuple(source.classes), len(source.records), read)


def _maps(snapshot: Snapshot, record: Record, *, predicted: bool) -> Mapping[int, NDArray[np.uint8]]:
    try:
        maps = snapshot[record.image_id]
    except KeyError:  # no row: the image has no labels, or no predicted class
        return {}
    return {index: values for index, values in maps.items() if predicted or index in record.labels}


def file_name(record: Record) -> str:
    """The file of an image: its id with the file's suffix, or of other ids, such as COCO's numbers, the file's name."""
    if record.image is None:
        return f"{record.image_id}.png"
    stem, suffix = posixpath.splitext(record.image)
    named = f"/{stem}".endswith(f"/{record.image_id}")
    return f"{record.image_id}{suffix}" if named else name_of(record.image)


def _masked(source: Source, position: int, mask: NDArray[np.uint8]) -> MaskedImage:
    record = source.records[position]
    return MaskedImage(
        image_id=record.image_id,
        file=file_name(record),
        mask=mask,
        classes={index + 1: index for index in range(len(source.classes))},
        read=_content(source, position),
    )


def _content(source: Source, position: int) -> Callable[[], bytes]:
    def read() -> bytes:
        if (location := source.records[position].image) is not None:
            return read_bytes(location)
        stream = io.BytesIO()
        Image.fromarray(source.load(position, mask=False, saliency=False).image).save(stream, "PNG")
        return stream.getvalue()

    return read
