"""From a file's bytes to pixels. Pillow decodes: it is as fast as OpenCV here and, unlike it, refuses cut files."""

from __future__ import annotations

__all__ = ["read_image", "read_mask", "read_saliency"]

import io
import warnings

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from attn.data.files import FileFault, read_bytes

ORIENTATION = 0x0112


def read_image(location: str) -> np.ndarray:
    """A photograph as uint8 (H0, W0, 3) RGB, upright.

    Raises:
        FileFault: Missing, cut short or no image.
    """
    picture = _open(location)
    if picture.getexif().get(ORIENTATION, 1) != 1:
        picture = ImageOps.exif_transpose(picture)
    return np.array(picture.convert("RGB"))  # a copy, because a view of Pillow's memory is read-only


def read_mask(location: str, image_size: tuple[int, int] | None, num_classes: int) -> np.ndarray:
    """A mask as uint8 (H0, W0): 0 background, class index + 1, 255 to be ignored.

    Args:
        image_size: (height, width) that it must have, where known.

    Raises:
        FileFault: Missing, cut short, of another size, not an index image, or with an index that is no class.
    """
    picture = _open(location)
    if picture.mode not in ("P", "L", "1"):
        raise FileFault(
            location, f"is a {picture.mode} image; a mask holds class indices, as a palette or 8-bit grey PNG"
        )
    mask = np.array(picture, dtype=np.uint8)
    if image_size is not None:
        _check_size(location, mask, image_size, "mask")
    if ((mask > num_classes) & (mask != 255)).any():
        wrong = [int(value) for value in np.unique(mask) if num_classes < value < 255]
        raise FileFault(
            location,
            f"holds the values {', '.join(map(str, wrong[:8]))}, which are no class; "
            f"0 is background, 1 to {num_classes} the classes, 255 to be ignored",
        )
    return mask


def read_saliency(location: str, image_size: tuple[int, int] | None) -> np.ndarray:
    """A saliency map as uint8 (H0, W0).

    Raises:
        FileFault: Missing, cut short or of another size than the image.
    """
    saliency = np.array(_open(location).convert("L"))
    if image_size is not None:
        _check_size(location, saliency, image_size, "saliency map")
    return saliency


def _open(location: str) -> Image.Image:
    data = read_bytes(location)
    if not data:
        raise FileFault(location, "is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about metadata, and about size, which is refused at twice the limit
            picture = Image.open(io.BytesIO(data))
            picture.load()
    except UnidentifiedImageError:
        raise FileFault(location, "is not an image in a format that Pillow knows") from None
    except Image.DecompressionBombError:
        raise FileFault(location, f"has more than {2 * (Image.MAX_IMAGE_PIXELS or 0)} pixels") from None
    except (OSError, SyntaxError, ValueError, EOFError, IndexError) as error:
        raise FileFault(location, f"is damaged ({error})") from None
    return picture


def _check_size(location: str, pixels: np.ndarray, image_size: tuple[int, int], what: str) -> None:
    if pixels.shape != image_size:
        (height, width), (image_h, image_w) = pixels.shape, image_size
        raise FileFault(location, f"the {what} is {width}x{height}, its image {image_w}x{image_h}")
