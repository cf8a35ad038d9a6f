"""The images in the body of a request: one as it is, or several as multipart/form-data."""

from __future__ import annotations

__all__ = ["images_of"]

from werkzeug.exceptions import HTTPException as MultipartError
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder

from services.prediction_service.engine import RefusedError

MULTIPART = "multipart/form-data"
FIX = "send an image with `Content-Type: image/jpeg` or application/octet-stream, or several as multipart/form-data"


def images_of(content_type: str, body: bytes, most: int) -> list[bytes]:
    """The images of a request.

    Args:
        content_type: The header.
        most: Largest number of images.

    Raises:
        RefusedError: There is none, there are more, or the body is not what the header says.
    """
    kind, options = parse_options_header(content_type)
    if kind == MULTIPART:
        images = _parts(options.get("boundary", ""), body, most)
    elif kind.startswith("image/") or kind == "application/octet-stream":
        images = [body] if body else []
    else:
        raise RefusedError(f"Content-Type {kind[:100]!r} is no image: {FIX}")
    if not images:
        raise RefusedError(f"the request has no image: {FIX}")
    return images


def _parts(boundary: str, body: bytes, most: int) -> list[bytes]:
    """The parts that are files, or fields named `image`."""
    if not boundary.isascii() or not 0 < len(boundary) <= 70:
        raise RefusedError("Content-Type multipart/form-data has no valid boundary")
    decoder = MultipartDecoder(boundary.encode(), max_parts=2 * most + 16)
    decoder.receive_data(body)
    decoder.receive_data(None)
    images: list[bytearray] = []
    part: bytearray | None = None
    try:
        while not isinstance(event := decoder.next_event(), Epilogue):
            if isinstance(event, (File, Field)):
                part = bytearray() if isinstance(event, File) or event.name == "image" else None
                if part is not None:
                    images.append(part)
                    if len(images) > most:
                        raise RefusedError(f"the request has more than limits.images={most} images: send fewer at once")
            elif isinstance(event, Data) and part is not None:
                part += event.data
    except (MultipartError, ValueError) as error:
        raise RefusedError(f"the body is not multipart/form-data: {error}") from None
    return [bytes(image) for image in images]
