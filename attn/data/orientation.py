"""EXIF's orientation: how a file says that its stored pixels are to be turned, and what of an image turns with them.

Whoever made a mask or a box saw either the stored pixels or the upright picture. Its size tells which of the two,
unless the orientation keeps the size.
"""

from __future__ import annotations

__all__ = ["UPRIGHT", "lies_as_stored", "stored_size", "turn", "turn_boxes"]

from dataclasses import replace

import numpy as np

from attn.data.sample import Box, Record
from attn.files.locations import FileFault

UPRIGHT = 1
TURNS = {
    1: (False, False, False),
    2: (False, True, False),
    3: (False, True, True),
    4: (False, False, True),
    5: (True, False, False),
    6: (True, True, False),
    7: (True, True, True),
    8: (True, False, True),
}
"""By EXIF's value, what makes the picture upright, in this order: swap rows and columns, mirror left to right, and top
to bottom."""


def turn(stored_HW: np.ndarray, orientation: int) -> np.ndarray:
    """Bring pixels, (H, W) or (H, W, channels), from the file's frame into the upright one."""
    swap, mirror, upend = TURNS[orientation]
    upright_HW = stored_HW.swapaxes(0, 1) if swap else stored_HW
    upright_HW = upright_HW[:, ::-1] if mirror else upright_HW
    return upright_HW[::-1] if upend else upright_HW


def stored_size(image_size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """(H, W) of the pixels in the file, by those of the upright picture."""
    height, width = image_size
    return (width, height) if TURNS[orientation][0] else image_size


def lies_as_stored(
    location: str, what: str, size: tuple[int, int] | None, image_size: tuple[int, int], orientation: int
) -> bool:
    """Whether something of an image lies in the frame of the file's pixels, so that it must be turned with them.

    Args:
        location: The file to name in the message.
        what: What it is, such as `the mask`.
        size: (H, W) of the image as whoever made it saw it; None where that is not known.
        image_size: (H, W) of the upright picture.

    Raises:
        FileFault: It is of another size than the image, or fits both frames and the two differ.
    """
    stored = stored_size(image_size, orientation)
    if orientation == UPRIGHT and size in (None, image_size):
        return False
    if size is not None and size not in (image_size, stored):
        turned = f" ({_shown(stored)} before its EXIF orientation {orientation})" if stored != image_size else ""
        raise FileFault(
            location,
            f"{what} is of {_shown(size)} pixels, the image of {_shown(image_size)}{turned}; "
            "use the image that it was made for, or bring both to one size",
        )
    if size is None or image_size == stored:
        of = "has no size" if size is None else f"is of {_shown(size)} pixels, as the image is both ways"
        raise FileFault(
            location,
            f"{what} {of}. The image's EXIF orientation {orientation} turns its {_shown(stored)} pixels, and nothing "
            f"tells whether {what} was made before or after that: save the image as {what} has it, without that tag",
        )
    return size == stored


def turn_boxes(record: Record, image_size: tuple[int, int], orientation: int) -> Record:
    """The record of an image with its boxes in the upright frame.

    Args:
        image_size: (H, W) of the upright picture.

    Raises:
        FileFault: They are of an image of another size, or may be of either frame; or one lies beside the image.
    """
    if not record.boxes:
        return record
    location = record.image or record.image_id
    if lies_as_stored(location, "the list of its boxes", record.annotated_size, image_size, orientation):
        turned = tuple((label, _turned(box, orientation, image_size)) for label, box in record.boxes)
        record = replace(record, boxes=turned)
    for _, box in record.boxes:
        left, top, right, bottom = box
        has_area = left < right and top < bottom
        if has_area and (right <= 0 or bottom <= 0 or left >= image_size[1] or top >= image_size[0]):
            raise FileFault(
                location,
                f"the box {list(box)} lies beside the image of {_shown(image_size)} pixels: correct or remove it",
            )
    return record


def _turned(box: Box, orientation: int, image_size: tuple[int, int]) -> Box:
    swap, mirror, upend = TURNS[orientation]
    height, width = image_size
    left, top, right, bottom = box
    if swap:
        left, top, right, bottom = top, left, bottom, right
    if mirror:
        left, right = width - right, width - left
    if upend:
        top, bottom = height - bottom, height - top
    return left, top, right, bottom


def _shown(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"
