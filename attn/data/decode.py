"""From a file's bytes to pixels: the one place that decodes images, masks, saliency and maps.

Pillow decodes: it is as fast as OpenCV here and, unlike it, refuses cut files. Its own conversions turn 16 bits into
white; here values are scaled by their range, or refused.
"""

from __future__ import annotations

__all__ = [
    "BUDGET",
    "MAX_PIXELS",
    "MOST_PIXELS",
    "Photograph",
    "read_image",
    "read_mask",
    "read_photograph",
    "read_saliency",
]

import contextlib
import io
import re
import warnings
from collections.abc import Callable, Generator
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from attn.data.orientation import TURNS, UPRIGHT, lies_as_stored, stored_size, turn
from attn.data.pixel_budget import PixelBudget
from attn.files.locations import FileFault, read_bytes
from attn.wording import shorten

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
MAX_PIXELS = 1 << 26
"""Of an image where no config says otherwise: 67 million take about half a gigabyte while they are decoded."""
MOST_PIXELS = 178_956_970
"""That a config may allow: Pillow opens no larger image."""
FIELD = "data.max_pixels"
HUNGRY = ("WEBP", "JPEG2000", "AVIF")
"""Formats a pixel of which counts as two: their decoders hold about 20 bytes of each, others 10."""
MAX_SIDE = 1 << 17
"""More than any camera's: a row of pixels for every few bytes would take decoders long."""
MAX_BYTES = 256 << 20
SHOWN = 200
"""Characters of what a decoder says."""
STRIP = 1 << 22
"""Pixels that are converted at once: as a whole, a large image would lie in memory several times."""
MAX_SCANS, USUAL_SCANS = 64, 16
"""Of a JPEG of `MAX_PIXELS`: each is a walk over the whole image, and few bytes make a thousand of them."""
PNM_HEADER = 4096
"""Bytes in which a PPM must say its size; a comment of megabytes is read byte by byte."""
JPEG_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
LARGE = 1 << 24
"""Pixels from which on an image is reduced where less is enough: 17 million take a quarter of a gigabyte in all."""
BUDGET = PixelBudget(MAX_PIXELS)

# Of metadata, and of a size that has its limit here. Not by `catch_warnings`: images are read in threads, and it would
# leave the process without any warning.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning, module=r"PIL\.")


class Photograph(NamedTuple):
    """A decoded image.

    Attributes:
        pixels: uint8 (H0, W0, 3) RGB, upright; of a large image that was to be reduced, smaller than that.
        orientation: EXIF's, by which the pixels of the file were turned.
        size: (H0, W0) of the upright image.
    """

    pixels: np.ndarray
    orientation: int
    size: tuple[int, int]


class _Opened(NamedTuple):
    """A loaded picture.

    Attributes:
        orientation: What its metadata say.
        stored_as: Pillow's name for how its values were stored.
        size: (width, height), whatever its decoder has made of it.
    """

    picture: Image.Image
    orientation: int
    stored_as: str
    size: tuple[int, int]

    def upright(self, pixels: np.ndarray) -> np.ndarray:
        # Pillow turns a TIFF's pixels itself.
        return pixels if self.picture.format == "TIFF" else np.ascontiguousarray(turn(pixels, self.orientation))


def read_image(location: str, most: int = MAX_PIXELS, field: str = FIELD) -> np.ndarray:
    """The pixels of `read_photograph`."""
    return read_photograph(location, most, field).pixels


def read_photograph(
    location: str, most: int = MAX_PIXELS, field: str = FIELD, *, enough: int | None = None
) -> Photograph:
    """A photograph in RGB, upright. Grey of 16 bits is scaled by its range; transparency is left out.

    Args:
        most: Pixels.
        field: What sets that limit, for the message.
        enough: Of a large image a half, quarter or eighth of each side is given, where its short side has still as many
            pixels: means of the others, as its decoder or a box filter makes them.

    Raises:
        FileFault: Missing, cut short, no image, too large, of several frames, or of values that have no fixed range.
    """
    with _open(location, most, field=field, enough=enough) as opened:
        eight_bits, (width, height) = _eight_bits(location, opened.picture), opened.size
        step = max(1, _reduction(opened.size, enough) // round(width / opened.picture.width))

        def rgb(part: Image.Image) -> np.ndarray:
            part = eight_bits(part).convert("RGB")
            return np.asarray(part.reduce(step) if step > 1 else part)

        pixels = _converted(opened.picture, rgb, channels=3, step=step)
        size = (height, width) if opened.picture.format == "TIFF" else stored_size((height, width), opened.orientation)
        return Photograph(opened.upright(pixels), opened.orientation, size)


def read_mask(
    location: str,
    image_size: tuple[int, int] | None,
    num_classes: int,
    *,
    orientation: int = UPRIGHT,
    most: int = MAX_PIXELS,
) -> np.ndarray:
    """A mask as uint8 (H0, W0): 0 background, class index + 1, 255 to be ignored.

    Args:
        image_size: (height, width) of its upright image, where known.
        orientation: The image's: a mask of the file's pixels is turned with them.
        most: Pixels, where the image's size is not known.

    Raises:
        FileFault: Missing, cut short, of another size, not an index image, or with an index that is no class.
    """
    with _open(location, most, beside=("the mask", image_size, orientation)) as opened:
        picture, scale = opened.picture, MASK_SCALES.get(opened.stored_as)
        if picture.mode not in MASK_SCALES or picture.format not in MASK_FORMATS:
            raise FileFault(
                location,
                f"is a {picture.mode} image ({picture.format}); a mask holds class indices, as a palette or "
                "8-bit grey PNG",
            )
        if scale is None or getattr(picture, "tag_v2", {}).get(TIFF_PHOTOMETRIC) == 0:
            raise FileFault(
                location, "stores its values inverted or packed; save the mask as a palette or 8-bit grey PNG"
            )
        mask = np.array(picture, dtype=np.uint8) // np.uint8(scale)
        if ((mask > num_classes) & (mask != 255)).any():
            wrong = [int(value) for value in np.unique(mask) if num_classes < value < 255]
            raise FileFault(
                location,
                f"holds the values {', '.join(map(str, wrong[:8]))}, which are no class; "
                f"0 is background, 1 to {num_classes} the classes, 255 to be ignored",
            )
        return _beside_image(location, "the mask", opened, mask, image_size, orientation)


def read_saliency(
    location: str, image_size: tuple[int, int] | None, *, orientation: int = UPRIGHT, most: int = MAX_PIXELS
) -> np.ndarray:
    """A saliency map, or a map of a class, as uint8 (H0, W0). One of 16 bits is scaled by its range.

    Args:
        image_size, orientation, most: As in `read_mask`.

    Raises:
        FileFault: Missing, cut short, not grey, or of another size than the image.
    """
    with _open(location, most, beside=("the saliency map", image_size, orientation)) as opened:
        eight_bits = _eight_bits(location, opened.picture)

        def grey(part: Image.Image) -> np.ndarray:
            part = eight_bits(part)
            if part.mode not in GREY:
                part = part.convert("RGB")
                channels = np.asarray(part).astype(np.int16)
                if (channels.max(-1) - channels.min(-1)).max(initial=0) > COLOURED:
                    raise FileFault(location, "is in colours; a saliency map or attention map is grey, 0 to 255")
            return np.asarray(part.convert("L"))

        pixels = _converted(opened.picture, grey, channels=None)
        return _beside_image(location, "the saliency map", opened, pixels, image_size, orientation)


@contextlib.contextmanager
def _open(
    location: str,
    most: int,
    *,
    field: str = FIELD,
    beside: tuple[str, tuple[int, int] | None, int] | None = None,
    enough: int | None = None,
) -> Generator[_Opened]:
    """A decoded picture; whatever its decoder raises, then or within, becomes one fault.

    Args:
        enough: As in `read_photograph`; a decoder that cannot reduce gives all.
        beside: Of a file beside an image what it is, and the image's size, where known, and orientation.
    """
    data = read_bytes(location, max(MAX_BYTES, 4 * most))
    if not data:
        raise FileFault(location, "is empty")
    try:
        if data.startswith(b"P") and not _has_pnm_header(data):
            raise UnidentifiedImageError
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            size = (picture.height, picture.width)
            if beside is not None and beside[1] is not None and size[0] * size[1] != beside[1][0] * beside[1][1]:
                lies_as_stored(location, beside[0], size, beside[1], beside[2])  # refuses it before it is decoded
            if beside is None or beside[1] is None:
                _refuse_large(location, picture, most, field)
            _refuse_frames(location, picture, data)
            with BUDGET.take(_counted(picture)):
                yield _load(picture, _reduction(picture.size, enough))
    except FileFault:
        raise
    except UnidentifiedImageError:
        raise FileFault(location, f"is not an image in a known format ({', '.join(FORMATS)})") from None
    except Image.DecompressionBombError:
        raise FileFault(location, f"has more than {MOST_PIXELS} pixels; make it smaller") from None
    except MemoryError:
        raise FileFault(location, "takes more memory than there is; make it smaller") from None
    except Exception as error:  # Pillow's decoders raise whatever the bytes lead them to
        raise FileFault(location, f"is damaged ({_short(error)})") from None


def _counted(picture: Image.Image) -> int:
    return picture.width * picture.height * (2 if picture.format in HUNGRY else 1)


def _refuse_large(location: str, picture: Image.Image, most: int, field: str) -> None:
    what = f"has {picture.width}x{picture.height} pixels"
    if max(picture.size) > MAX_SIDE:
        raise FileFault(location, f"{what}; a side has at most {MAX_SIDE}: cut it into parts")
    if (counted := _counted(picture)) > most:
        twice = f" ({picture.format} counts twice)" if counted > picture.width * picture.height else ""
        raise FileFault(
            location,
            f"{what}, which are more than {field}={most}{twice}: make it smaller, or raise {field} "
            "where there is memory for it, about 10 bytes a pixel",
        )


def _has_pnm_header(data: bytes) -> bool:
    words = re.sub(rb"#[^\r\n]*[\r\n]", b" ", data[:PNM_HEADER]).split(maxsplit=4)
    said = words[: 3 if data[:2] in (b"P1", b"P4") else 4]
    return len(said) >= 3 and not any(word.startswith(b"#") for word in said)


def _refuse_frames(location: str, picture: Image.Image, data: bytes) -> None:
    # Whether there are several, and not how many: to count them is to walk through all of them.
    if getattr(picture, "is_animated", False) and picture.format != "MPO":  # a camera's JPEG with previews behind it
        raise FileFault(location, "has several frames or pages; save the one that you mean as a file of its own")
    if picture.format in ("JPEG", "MPO") and data.count(b"\xff\xda") > USUAL_SCANS:
        scans = _scans(data)
        if scans > USUAL_SCANS and scans * picture.width * picture.height > MAX_SCANS * MAX_PIXELS:
            raise FileFault(location, f"is a JPEG of {scans} scans, where a dozen are usual: save it anew")


def _scans(data: bytes) -> int:
    """How many scans the first image of a JPEG has."""
    found, at = 0, 2
    while match := JPEG_MARKER.search(data, at):
        marker, at = match.group()[1], match.end()
        if marker == 0xD9:
            break
        found += marker == 0xDA
        at += int.from_bytes(data[at : at + 2], "big")
    return found


def _reduction(size: tuple[int, int], enough: int | None) -> int:
    """By how much each side may be divided."""
    if enough is None or size[0] * size[1] <= LARGE:
        return 1
    return next((step for step in (8, 4, 2) if min(size) // step >= enough), 1)


def _load(picture: Any, step: int) -> _Opened:
    """Decode the first frame. How its values are stored, and a TIFF's orientation, are gone after that."""
    arguments = picture.tile[0].args if picture.tile else None
    raw = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    stored_as = raw if isinstance(raw, str) else picture.mode
    before = _orientation(picture) if picture.format == "TIFF" else None
    size = picture.size
    if step > 1 and picture.format in ("JPEG", "MPO"):
        picture.draft(None, (size[0] // step, size[1] // step))
    picture.load()
    size = picture.size if picture.format == "TIFF" else size
    return _Opened(picture, before or _orientation(picture), stored_as, size)


def _orientation(picture: Image.Image) -> int:
    """EXIF's orientation; metadata that cannot be read turn nothing, as in any viewer."""
    try:
        found = picture.getexif().get(EXIF_ORIENTATION, UPRIGHT)
    except Exception:  # the same junk that Pillow's parser met
        return UPRIGHT
    return found if isinstance(found, int) and found in TURNS else UPRIGHT


def _eight_bits(location: str, picture: Image.Image) -> Callable[[Image.Image], Image.Image]:
    """What brings the picture, or a part, into a mode that Pillow converts to grey and RGB without loss of range."""
    picture.info.pop("transparency", None)  # which is left out, and Pillow warns of
    if picture.mode in GREY or picture.mode in COLOURS:
        return lambda part: part
    if picture.mode in PREMULTIPLIED:
        return lambda part: part.convert(PREMULTIPLIED[part.mode])
    if picture.mode.startswith("I;16") or (picture.mode == "I" and picture.format == "PPM"):
        tags = getattr(picture, "tag_v2", {})
        return lambda part: _of_sixteen(part, tags.get(TIFF_BITS, (16,))[0], tags.get(TIFF_PHOTOMETRIC) == 0)
    kind = REFUSED.get(picture.mode, f"the colours of {picture.mode}")
    raise FileFault(location, f"holds {kind}, which have no fixed black and white; save it as 8-bit grey or RGB")


def _of_sixteen(part: Image.Image, bits: int, inverted: bool) -> Image.Image:
    top = 2**bits - 1
    values = np.asarray(part).astype(np.uint32)
    values = top - values if inverted else values
    return Image.fromarray(((values * 255 + top // 2) // top).astype(np.uint8))


def _converted(
    picture: Image.Image, convert: Callable[[Image.Image], np.ndarray], *, channels: int | None, step: int = 1
) -> np.ndarray:
    """uint8 (H, W) or (H, W, channels), a strip after another.

    Args:
        step: By which `convert` divides both sides, rounding up.
    """
    width, height = picture.size
    shape = (-(-height // step), -(-width // step))
    pixels = np.empty(shape if channels is None else (*shape, channels), np.uint8)
    rows = max(1, STRIP // max(width, 1) // step) * step
    for top in range(0, height, rows):
        bottom = min(height, top + rows)
        strip = picture if rows >= height else picture.crop((0, top, width, bottom))
        pixels[top // step : -(-bottom // step)] = convert(strip)
    return pixels


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


def _short(error: Exception) -> str:
    return shorten(str(error), SHOWN) or type(error).__name__
