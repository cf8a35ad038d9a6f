"""From a file's bytes to pixels: the one place that decodes images, masks, saliency and maps.

Pillow decodes: it is as fast as OpenCV here and, unlike it, refuses cut files. Its own conversions turn 16 bits into
white; here values are scaled by their range, or refused.
"""

from __future__ import annotations

__all__ = ["Photograph", "read_image", "read_mask", "read_photograph", "read_saliency"]

import io
import warnings
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from attn.data.files import FileFault, read_bytes
from attn.data.orientation import TURNS, UPRIGHT, lies_as_stored, turn

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "JPEG2000", "AVIF")
MASK_FORMATS = ("PNG", "TIFF", "BMP")
"""Those that keep indices: JPEG and most WebP change values, and writers of GIF renumber the colours that occur."""
MASK_SCALES = {"P": 1, "P;1": 1, "P;2": 1, "P;4": 1, "L": 1, "1": 1, "L;2": 85, "L;4": 17}
"""What Pillow multiplies the values of a mask's file by, by the way that they are stored; others are refused."""
GREY = ("1", "L", "LA")
COLOURS = ("P", "PA", "RGB", "RGBX", "RGBA", "CMYK", "YCbCr")
PREMULTIPLIED = {"La": "LA", "RGBa": "RGBA"}
REFUSED = {"I": "32-bit integers", "F": "floating-point numbers"}
COLOURED = 16
"""Difference between the channels above which a pixel is not grey."""
EXIF_ORIENTATION, TIFF_BITS, TIFF_PHOTOMETRIC = 0x0112, 258, 262

# Of metadata, and of a size that is refused here. Not by `catch_warnings`: images are read in threads, and it would
# leave the process without any warning.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning, module=r"PIL\.")


class Photograph(NamedTuple):
    """A decoded image.

    Attributes:
        pixels: uint8 (H0, W0, 3) RGB, upright.
        orientation: EXIF's, by which the pixels of the file were turned.
    """

    pixels: np.ndarray
    orientation: int


class _Opened(NamedTuple):
    """A loaded picture, what its metadata say of its orientation, and Pillow's name for how its values were stored."""

    picture: Image.Image
    orientation: int
    stored_as: str
    frames: int

    def upright(self, pixels: np.ndarray) -> np.ndarray:
        # Pillow turns a TIFF's pixels itself.
        return pixels if self.picture.format == "TIFF" else np.ascontiguousarray(turn(pixels, self.orientation))


def read_image(location: str) -> np.ndarray:
    """The pixels of `read_photograph`."""
    return read_photograph(location).pixels


def read_photograph(location: str) -> Photograph:
    """A photograph in RGB, upright. Grey of 16 bits is scaled by its range; transparency is left out.

    Raises:
        FileFault: Missing, cut short, no image, of several frames, or of values that have no fixed range.
    """
    opened = _open(location)
    pixels = np.array(_eight_bits(location, opened.picture).convert("RGB"))  # a copy: Pillow's memory is read-only
    return Photograph(opened.upright(pixels), opened.orientation)


def read_mask(
    location: str, image_size: tuple[int, int] | None, num_classes: int, *, orientation: int = UPRIGHT
) -> np.ndarray:
    """A mask as uint8 (H0, W0): 0 background, class index + 1, 255 to be ignored.

    Args:
        image_size: (height, width) of its upright image, where known.
        orientation: The image's: a mask of the file's pixels is turned with them.

    Raises:
        FileFault: Missing, cut short, of another size, not an index image, or with an index that is no class.
    """
    opened = _open(location)
    picture, scale = opened.picture, MASK_SCALES.get(opened.stored_as)
    if picture.mode not in MASK_SCALES or picture.format not in MASK_FORMATS:
        raise FileFault(
            location,
            f"is a {picture.mode} image ({picture.format}); a mask holds class indices, as a palette or 8-bit grey PNG",
        )
    if scale is None or getattr(picture, "tag_v2", {}).get(TIFF_PHOTOMETRIC) == 0:
        raise FileFault(location, "stores its values inverted or packed; save the mask as a palette or 8-bit grey PNG")
    mask = np.array(picture, dtype=np.uint8) // np.uint8(scale)
    if ((mask > num_classes) & (mask != 255)).any():
        wrong = [int(value) for value in np.unique(mask) if num_classes < value < 255]
        raise FileFault(
            location,
            f"holds the values {', '.join(map(str, wrong[:8]))}, which are no class; "
            f"0 is background, 1 to {num_classes} the classes, 255 to be ignored",
        )
    return _beside_image(location, "the mask", opened, mask, image_size, orientation)


def read_saliency(location: str, image_size: tuple[int, int] | None, *, orientation: int = UPRIGHT) -> np.ndarray:
    """A saliency map, or a map of a class, as uint8 (H0, W0). One of 16 bits is scaled by its range.

    Raises:
        FileFault: Missing, cut short, not grey, or of another size than the image.
    """
    opened = _open(location)
    picture = _eight_bits(location, opened.picture)
    if picture.mode not in GREY:
        picture = picture.convert("RGB")
        channels = np.asarray(picture).astype(np.int16)
        if (channels.max(-1) - channels.min(-1)).max(initial=0) > COLOURED:
            raise FileFault(location, "is in colours; a saliency map or attention map is grey, 0 to 255")
    pixels = np.array(picture.convert("L"))
    return _beside_image(location, "the saliency map", opened, pixels, image_size, orientation)


def _open(location: str) -> _Opened:
    data = read_bytes(location)
    if not data:
        raise FileFault(location, "is empty")
    try:
        picture = Image.open(io.BytesIO(data), formats=FORMATS)
        opened = None if _is_too_large(picture) else _load(picture)
    except UnidentifiedImageError:
        raise FileFault(location, f"is not an image in a known format ({', '.join(FORMATS)})") from None
    except Image.DecompressionBombError:
        opened = None
    except Exception as error:  # Pillow's decoders raise whatever the bytes lead them to
        raise FileFault(location, f"is damaged ({error or type(error).__name__})") from None
    if opened is None:
        raise FileFault(location, f"has more than {Image.MAX_IMAGE_PIXELS} pixels; make it smaller")
    if opened.frames > 1 and opened.picture.format != "MPO":  # a camera's JPEG with previews behind it
        raise FileFault(
            location, f"has {opened.frames} frames or pages; save the one that you mean as a file of its own"
        )
    return opened


def _is_too_large(picture: Image.Image) -> bool:
    limit = Image.MAX_IMAGE_PIXELS
    return limit is not None and picture.width * picture.height > limit


def _load(picture: Any) -> _Opened:
    """Decode the first frame. How its values are stored, and a TIFF's orientation and pages, are gone after that."""
    arguments = picture.tile[0].args if picture.tile else None
    raw = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    stored_as = raw if isinstance(raw, str) else picture.mode
    frames = getattr(picture, "n_frames", 1)
    before = _orientation(picture) if picture.format == "TIFF" else None
    picture.load()
    return _Opened(picture, before or _orientation(picture), stored_as, frames)


def _orientation(picture: Image.Image) -> int:
    """EXIF's orientation; metadata that cannot be read turn nothing, as in any viewer."""
    try:
        found = picture.getexif().get(EXIF_ORIENTATION, UPRIGHT)
    except Exception:  # the same junk that Pillow's parser met
        return UPRIGHT
    return found if isinstance(found, int) and found in TURNS else UPRIGHT


def _eight_bits(location: str, picture: Image.Image) -> Image.Image:
    """The picture in a mode that Pillow converts to grey and RGB without loss of range."""
    picture.info.pop("transparency", None)  # which is left out, and Pillow warns of
    if picture.mode in GREY or picture.mode in COLOURS:
        return picture
    if picture.mode in PREMULTIPLIED:
        return picture.convert(PREMULTIPLIED[picture.mode])
    if picture.mode.startswith("I;16") or (picture.mode == "I" and picture.format == "PPM"):
        tags = getattr(picture, "tag_v2", {})
        top = 2 ** tags.get(TIFF_BITS, (16,))[0] - 1
        values = np.asarray(picture).astype(np.uint32)
        values = top - values if tags.get(TIFF_PHOTOMETRIC) == 0 else values
        return Image.fromarray(((values * 255 + top // 2) // top).astype(np.uint8))
    kind = REFUSED.get(picture.mode, f"the colours of {picture.mode}")
    raise FileFault(location, f"holds {kind}, which have no fixed black and white; save it as 8-bit grey or RGB")


def _beside_image(
    location: str,
    what: str,
    opened: _Opened,
    pixels: np.ndarray,
    image_size: tuple[int, int] | None,
    orientation: int,
) -> np.ndarray:
    """Pixels in the upright frame of an image, and of its size where that is known."""
    pixels = opened.upright(pixels)
    if image_size is None:
        return pixels
    height, width = pixels.shape
    # What has an orientation of its own is upright now, as the image is.
    turned = orientation if opened.orientation == UPRIGHT else UPRIGHT
    if not lies_as_stored(location, what, (height, width), image_size, turned):
        return pixels
    return np.ascontiguousarray(turn(pixels, orientation))
