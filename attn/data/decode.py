"""Decodes images, masks, saliency maps and attention maps from files.

Pillow is as fast as OpenCV here and, unlike OpenCV, refuses truncated files. Pillow's conversion turns
16-bit images white; here their values are scaled from 0..65535 to 0..255, and values without a fixed range are refused.
"""

from __future__ import annotations

__all__ = [
    "BUDGET",
    "MAX_PIXELS",
    "PIXEL_LIMIT",
    "Photograph",
    "decode_photograph",
    "read_image",
    "read_mask",
    "read_photograph",
    "read_saliency",
]

import contextlib
import io
import warnings
from collections.abc import Callable, Generator
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from attn.data.image_headers import has_pnm_header, jpeg_scans
from attn.data.orientation import ORIENTATIONS, UPRIGHT, apply_orientation, is_in_stored_frame, stored_size
from attn.data.pixel_budget import PixelBudget
from attn.files.locations import FileFault, read_bytes
from attn.wording import shorten

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "JPEG2000", "AVIF")
MASK_FORMATS = ("PNG", "TIFF", "BMP")
"""Formats that keep indices unchanged. JPEG and most WebP change values; GIF writers renumber the palette."""
MASK_SCALES = {"P": 1, "P;1": 1, "P;2": 1, "P;4": 1, "L": 1, "1": 1, "L;2": 85, "L;4": 17}
"""Factor by which Pillow multiplies stored values, by raw mode; masks in other raw modes are refused."""
GREY = ("1", "L", "LA")
COLOURS = ("P", "PA", "RGB", "RGBX", "RGBA", "CMYK", "YCbCr")
PREMULTIPLIED = {"La": "LA", "RGBa": "RGBA"}
REFUSED = {"I": "32-bit integers", "F": "floating-point numbers"}
MAX_CHANNEL_DIFFERENCE = 16
"""A pixel with a larger difference between channels is not grey."""
EXIF_ORIENTATION, TIFF_BITS, TIFF_PHOTOMETRIC = 0x0112, 258, 262
MAX_PIXELS = 1 << 26
"""Default limit for an image; decoding 67 million pixels takes about half a gigabyte."""
PIXEL_LIMIT = 178_956_970
"""Maximum that a config may allow; Pillow does not open larger images."""
FIELD = "data.max_pixels"
MEMORY_HEAVY = ("WEBP", "JPEG2000", "AVIF")
"""Formats with decoders that need about 20 bytes per pixel instead of 10; their pixels count twice."""
MAX_SIDE = 1 << 17
"""Larger than any camera's images; a malicious file with very long sides would keep decoders busy."""
MAX_BYTES = 256 << 20
SHOWN = 200
"""Maximum characters of a decoder's message."""
PIXELS_AT_ONCE = 1 << 22
"""Pixels that are converted at once, so that a large image is not copied several times as a whole."""
MAX_SCANS, USUAL_SCANS = 64, 16
"""Limits on a JPEG's scans. Each scan decodes the whole image, and a small file can have a thousand of them."""
REDUCE_FROM_PIXELS = 1 << 24
"""Larger images are reduced if a smaller one suffices; 17 million pixels take a quarter of a gigabyte in total."""
BUDGET = PixelBudget(MAX_PIXELS)

# Warnings about metadata, and about sizes that are limited here. `catch_warnings` is not thread-safe.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning, module=r"PIL\.")


class Photograph(NamedTuple):
    """A decoded image.

    Attributes:
        pixels: uint8 (H0, W0, 3) RGB, upright; smaller if the image was reduced.
        orientation: EXIF orientation that was applied to the stored pixels.
        size: (H0, W0) of the upright image before reduction.
    """

    pixels: np.ndarray
    orientation: int
    size: tuple[int, int]


class _Opened(NamedTuple):
    """A loaded picture.

    Attributes:
        orientation: EXIF orientation from the metadata.
        stored_as: Pillow's raw mode of the stored values.
        size: (width, height) before any reduction by the decoder.
    """

    picture: Image.Image
    orientation: int
    stored_as: str
    size: tuple[int, int]

    def upright(self, pixels: np.ndarray) -> np.ndarray:
        # Pillow applies a TIFF's orientation itself.
        return (
            pixels
            if self.picture.format == "TIFF"
            else np.ascontiguousarray(apply_orientation(pixels, self.orientation))
        )


def read_image(location: str, max_pixels: int = MAX_PIXELS, field: str = FIELD) -> np.ndarray:
    """The pixels of `read_photograph`."""
    return read_photograph(location, max_pixels, field).pixels


def read_photograph(
    location: str, max_pixels: int = MAX_PIXELS, field: str = FIELD, *, min_side: int | None = None
) -> Photograph:
    """Read a photograph as upright RGB. 16-bit grey is scaled by its range; transparency is ignored.

    Args:
        max_pixels: Maximum number of pixels.
        field: Name of the setting with that limit, for the message.
        min_side: Reduce each side of a large image by 2, 4 or 8 if its short side keeps at least this many pixels. The
            decoder or a box filter averages pixels.

    Raises:
        FileFault: The file is missing, truncated, not an image, too large, has several frames, or has values without a
            fixed range.
    """
    data = read_bytes(location, max(MAX_BYTES, 4 * max_pixels))
    return decode_photograph(data, location, max_pixels, field, min_side=min_side)


def decode_photograph(
    data: bytes, location: str, max_pixels: int = MAX_PIXELS, field: str = FIELD, *, min_side: int | None = None
) -> Photograph:
    """As `read_photograph`, of a file's content.

    Args:
        location: What the messages of errors call the file.
    """
    with _open(location, max_pixels, data=data, field=field, min_side=min_side) as opened:
        to_8_bits, (width, height) = _to_8_bits(location, opened.picture), opened.size
        step = max(1, _reduction(opened.size, min_side) // round(width / opened.picture.width))

        def rgb(part: Image.Image) -> np.ndarray:
            part = to_8_bits(part).convert("RGB")
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
    max_pixels: int = MAX_PIXELS,
    hint: str = "",
) -> np.ndarray:
    """Read a mask as uint8 (H0, W0): 0 background, class index + 1, 255 ignored.

    Args:
        image_size: (height, width) of the upright image, if known.
        orientation: The image's EXIF orientation. A mask in the frame of the stored pixels is turned with them.
        max_pixels: Maximum number of pixels if the image's size is unknown.
        hint: What to do about an index that is not a class.

    Raises:
        FileFault: The file is missing, truncated, of another size than the image, not an index image, or has an index
            that is not a class.
    """
    with _open(location, max_pixels, image_frame=("the mask", image_size, orientation)) as opened:
        picture, scale = opened.picture, MASK_SCALES.get(opened.stored_as)
        if picture.mode not in MASK_SCALES or picture.format not in MASK_FORMATS:
            raise FileFault(
                location,
                f"is a {picture.mode} image ({picture.format}); expected a mask of class indices, a palette or "
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
                f"has the values {', '.join(map(str, wrong[:8]))}, which are no class; "
                f"0 is background, 1 to {num_classes} are classes, 255 is ignored{hint and f'. {hint}'}",
            )
        return _aligned_with_image(location, "the mask", opened, mask, image_size, orientation)


def read_saliency(
    location: str, image_size: tuple[int, int] | None, *, orientation: int = UPRIGHT, max_pixels: int = MAX_PIXELS
) -> np.ndarray:
    """Read a saliency map or a class's map as uint8 (H0, W0). 16-bit values are scaled from 0..65535 to 0..255.

    Args:
        image_size, orientation, max_pixels: As in `read_mask`.

    Raises:
        FileFault: The file is missing, truncated, not grey, or of another size than the image.
    """
    with _open(location, max_pixels, image_frame=("the saliency map", image_size, orientation)) as opened:
        to_8_bits = _to_8_bits(location, opened.picture)

        def grey(part: Image.Image) -> np.ndarray:
            part = to_8_bits(part)
            if part.mode not in GREY:
                part = part.convert("RGB")
                channels = np.asarray(part).astype(np.int16)
                if (channels.max(-1) - channels.min(-1)).max(initial=0) > MAX_CHANNEL_DIFFERENCE:
                    raise FileFault(location, "is a colour image; saliency and attention maps must be grey, 0 to 255")
            return np.asarray(part.convert("L"))

        pixels = _converted(opened.picture, grey, channels=None)
        return _aligned_with_image(location, "the saliency map", opened, pixels, image_size, orientation)


@contextlib.contextmanager
def _open(
    location: str,
    max_pixels: int,
    *,
    data: bytes | None = None,
    field: str = FIELD,
    image_frame: tuple[str, tuple[int, int] | None, int] | None = None,
    min_side: int | None = None,
) -> Generator[_Opened]:
    """Open and decode a picture. All decoder errors, also inside the `with` block, become a `FileFault`.

    Args:
        data: The file's content; None: it is read.
        image_frame: For a mask or map: what it is, and the image's size, if known, and orientation.
        min_side: As in `read_photograph`; decoders that cannot reduce ignore it.
    """
    data = read_bytes(location, max(MAX_BYTES, 4 * max_pixels)) if data is None else data
    if not data:
        raise FileFault(location, "is empty")
    try:
        if data.startswith(b"P") and not has_pnm_header(data):
            raise UnidentifiedImageError
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            size = (picture.height, picture.width)
            if (
                image_frame is not None
                and image_frame[1] is not None
                and size[0] * size[1] != image_frame[1][0] * image_frame[1][1]
            ):
                is_in_stored_frame(
                    location, image_frame[0], size, image_frame[1], image_frame[2]
                )  # raises if the sizes do not fit, before the pixels are decoded
            if image_frame is None or image_frame[1] is None:
                _refuse_large(location, picture, max_pixels, field)
            _refuse_frames(location, picture, data)
            with BUDGET.take(_pixel_cost(picture)):
                yield _load(picture, _reduction(picture.size, min_side))
    except FileFault:
        raise
    except UnidentifiedImageError:
        raise FileFault(location, f"is not an image in a known format ({', '.join(FORMATS)})") from None
    except Image.DecompressionBombError:
        raise FileFault(location, f"has more than {PIXEL_LIMIT} pixels; make it smaller") from None
    except MemoryError:
        raise FileFault(location, "needs more memory than is available; make it smaller") from None
    except Exception as error:  # Pillow's decoders may raise anything for broken files
        raise FileFault(location, f"is damaged ({_decoder_message(error)})") from None


def _pixel_cost(picture: Image.Image) -> int:
    return picture.width * picture.height * (2 if picture.format in MEMORY_HEAVY else 1)


def _refuse_large(location: str, picture: Image.Image, max_pixels: int, field: str) -> None:
    what = f"has {picture.width}x{picture.height} pixels"
    if max(picture.size) > MAX_SIDE:
        raise FileFault(location, f"{what}; a side must have at most {MAX_SIDE}: split the image")
    if (cost := _pixel_cost(picture)) > max_pixels:
        twice = f" ({picture.format} counts twice)" if cost > picture.width * picture.height else ""
        raise FileFault(
            location,
            f"{what}, more than {field}={max_pixels}{twice}: make it smaller, or raise {field} if there is enough "
            "memory, about 10 bytes per pixel",
        )


def _refuse_frames(location: str, picture: Image.Image, data: bytes) -> None:
    # Asks only whether there are several: counting reads all of them.
    if getattr(picture, "is_animated", False) and picture.format != "MPO":  # MPO: a camera's JPEG with previews
        raise FileFault(location, "has several frames or pages; save the one that you want as a separate file")
    if picture.format in ("JPEG", "MPO") and data.count(b"\xff\xda") > USUAL_SCANS:
        scans = jpeg_scans(data)
        if scans > USUAL_SCANS and scans * picture.width * picture.height > MAX_SCANS * MAX_PIXELS:
            raise FileFault(location, f"is a JPEG with {scans} scans; a dozen are usual: save it again")


def _reduction(size: tuple[int, int], min_side: int | None) -> int:
    """The factor by which each side may be divided."""
    if min_side is None or size[0] * size[1] <= REDUCE_FROM_PIXELS:
        return 1
    return next((step for step in (8, 4, 2) if min(size) // step >= min_side), 1)


def _load(picture: Any, step: int) -> _Opened:
    """Decode the first frame. Raw mode and a TIFF's orientation are read first: decoding discards them."""
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
    """The EXIF orientation. Unreadable metadata are ignored, as viewers do."""
    try:
        result = picture.getexif().get(EXIF_ORIENTATION, UPRIGHT)
    except Exception:  # Pillow's parser may raise anything for broken metadata
        return UPRIGHT
    return result if isinstance(result, int) and result in ORIENTATIONS else UPRIGHT


def _to_8_bits(location: str, picture: Image.Image) -> Callable[[Image.Image], Image.Image]:
    """A function that converts the picture, or a part, to a mode that Pillow converts to grey and RGB correctly."""
    picture.info.pop("transparency", None)  # ignored; Pillow would warn
    if picture.mode in GREY or picture.mode in COLOURS:
        return lambda part: part
    if picture.mode in PREMULTIPLIED:
        return lambda part: part.convert(PREMULTIPLIED[part.mode])
    if picture.mode.startswith("I;16") or (picture.mode == "I" and picture.format == "PPM"):
        tags = getattr(picture, "tag_v2", {})
        return lambda part: _from_16_bits(part, tags.get(TIFF_BITS, (16,))[0], tags.get(TIFF_PHOTOMETRIC) == 0)
    kind = REFUSED.get(picture.mode, f"the colours of {picture.mode}")
    raise FileFault(location, f"has {kind}, which have no fixed range; save it as 8-bit grey or RGB")


def _from_16_bits(part: Image.Image, bits: int, inverted: bool) -> Image.Image:
    top = 2**bits - 1
    values = np.asarray(part).astype(np.uint32)
    values = top - values if inverted else values
    return Image.fromarray(((values * 255 + top // 2) // top).astype(np.uint8))


def _converted(
    picture: Image.Image, convert: Callable[[Image.Image], np.ndarray], *, channels: int | None, step: int = 1
) -> np.ndarray:
    """Convert a picture strip by strip to uint8 (H, W) or (H, W, channels).

    Args:
        step: Factor by which `convert` divides both sides, rounding up.
    """
    width, height = picture.size
    shape = (-(-height // step), -(-width // step))
    pixels = np.empty(shape if channels is None else (*shape, channels), np.uint8)
    rows = max(1, PIXELS_AT_ONCE // max(width, 1) // step) * step
    for top in range(0, height, rows):
        bottom = min(height, top + rows)
        strip = picture if rows >= height else picture.crop((0, top, width, bottom))
        pixels[top // step : -(-bottom // step)] = convert(strip)
    return pixels


def _aligned_with_image(
    location: str,
    what: str,
    opened: _Opened,
    pixels: np.ndarray,
    image_size: tuple[int, int] | None,
    orientation: int,
) -> np.ndarray:
    """A mask's or map's pixels in the upright frame of its image; checks the size if it is known."""
    pixels = opened.upright(pixels)
    if image_size is None:
        return pixels
    height, width = pixels.shape
    # A file with its own EXIF orientation is upright already.
    turned = orientation if opened.orientation == UPRIGHT else UPRIGHT
    if not is_in_stored_frame(location, what, (height, width), image_size, turned):
        return pixels
    return np.ascontiguousarray(apply_orientation(pixels, orientation))


def _decoder_message(error: Exception) -> str:
    return shorten(str(error), SHOWN) or type(error).__name__
