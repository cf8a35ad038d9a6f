"""EXIF orientation: turns stored pixels, masks and boxes into the upright frame.

A mask or box may have been made for the stored pixels or for the upright image. The size of the annotated image tells
which, unless both have the same size.
"""

from __future__ import annotations

__all__ = ["UPRIGHT", "is_in_stored_frame", "stored_size", "apply_orientation", "orient_boxes"]

from dataclasses import replace

import numpy as np

from attn.data.sample import Box, Record
from attn.files.locations import FileFault

UPRIGHT = 1
ORIENTATIONS = {
    1: (False, False, False),
    2: (False, True, False),
    3: (False, True, True),
    4: (False, False, True),
    5: (True, False, False),
    6: (True, True, False),
    7: (True, True, True),
    8: (True, False, True),
}
"""By EXIF value, the steps that make an image upright, in this order: transpose, flip columns, flip rows."""


def apply_orientation(stored_HW: np.ndarray, orientation: int) -> np.ndarray:
    """Turn stored pixels, (H, W) or (H, W, channels), into the upright frame."""
    transpose, flip_columns, flip_rows = ORIENTATIONS[orientation]
    upright_HW = stored_HW.swapaxes(0, 1) if transpose else stored_HW
    upright_HW = upright_HW[:, ::-1] if flip_columns else upright_HW
    return upright_HW[::-1] if flip_rows else upright_HW


def stored_size(image_size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """(H, W) of the stored pixels, given (H, W) of the upright image."""
    height, width = image_size
    return (width, height) if ORIENTATIONS[orientation][0] else image_size


def is_in_stored_frame(
    location: str, what: str, size: tuple[int, int] | None, image_size: tuple[int, int], orientation: int
) -> bool:
    """Return whether a mask or boxes are in the frame of the stored pixels, so that they must be turned.

    Args:
        location: File for the message.
        what: What it is, such as `the mask`, for the message.
        size: (H, W) of the annotated image; None if unknown.
        image_size: (H, W) of the upright image.

    Raises:
        FileFault: The size differs from the image's, or does not tell which frame was annotated.
    """
    stored = stored_size(image_size, orientation)
    if orientation == UPRIGHT and size in (None, image_size):
        return False
    if size is not None and size not in (image_size, stored):
        turned = f" ({_size_text(stored)} before its EXIF orientation {orientation})" if stored != image_size else ""
        raise FileFault(
            location,
            f"{what} is for {_size_text(size)} pixels, but the image has {_size_text(image_size)}{turned}; "
            "use the image that it was made for, or resize one of them",
        )
    if size is None or image_size == stored:
        of = "has no size" if size is None else f"is for {_size_text(size)} pixels, which fits both ways"
        raise FileFault(
            location,
            f"{what} {of}: the image has EXIF orientation {orientation}, and it is unknown whether {what} was made for "
            f"the stored {_size_text(stored)} pixels or for the upright image. Save the image without that tag, "
            f"oriented as for {what}",
        )
    return size == stored


def orient_boxes(record: Record, image_size: tuple[int, int], orientation: int) -> Record:
    """The record with its boxes in the upright frame.

    Args:
        image_size: (H, W) of the upright image.

    Raises:
        FileFault: The boxes are for an image of another size, their frame is ambiguous, or one is outside of the image.
    """
    if not record.boxes:
        return record
    location = record.image or record.image_id
    if is_in_stored_frame(location, "the list of its boxes", record.annotated_size, image_size, orientation):
        turned = tuple((label, _oriented(box, orientation, image_size)) for label, box in record.boxes)
        record = replace(record, boxes=turned)
    for _, box in record.boxes:
        left, top, right, bottom = box
        has_area = left < right and top < bottom
        if has_area and (right <= 0 or bottom <= 0 or left >= image_size[1] or top >= image_size[0]):
            raise FileFault(
                location,
                f"the box {list(box)} is outside of the image of {_size_text(image_size)} pixels: correct or remove it",
            )
    return record


def _oriented(box: Box, orientation: int, image_size: tuple[int, int]) -> Box:
    transpose, flip_columns, flip_rows = ORIENTATIONS[orientation]
    height, width = image_size
    left, top, right, bottom = box
    if transpose:
        left, top, right, bottom = top, left, bottom, right
    if flip_columns:
        left, right = width - right, width - left
    if flip_rows:
        top, bottom = height - bottom, height - top
    return left, top, right, bottom


def _size_text(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"
