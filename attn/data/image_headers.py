"""What the first bytes of an image file say, read before a decoder sees them."""

from __future__ import annotations

__all__ = ["has_pnm_header", "jpeg_scans"]

import re

PNM_HEADER = 4096
"""A PPM's header must end within this many bytes; Pillow reads longer comments byte by byte."""
JPEG_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


def has_pnm_header(data: bytes) -> bool:
    """Return whether the file begins with the whole header of a portable anymap."""
    tokens = re.sub(rb"#[^\r\n]*[\r\n]", b" ", data[:PNM_HEADER]).split(maxsplit=4)
    fields = tokens[: 3 if data[:2] in (b"P1", b"P4") else 4]
    return len(fields) >= 3 and not any(token.startswith(b"#") for token in fields)


def jpeg_scans(data: bytes) -> int:
    """Number of scans of a JPEG's first image."""
    result, at = 0, 2
    while match := JPEG_MARKER.search(data, at):
        marker, at = match.group()[1], match.end()
        if marker == 0xD9:
            break
        result += marker == 0xDA
        at += int.from_bytes(data[at : at + 2], "big")
    return result
