"""Files that are named as images and made to break what decodes them: too large, endless, cut, junk, or no image.

`IMAGES` has a builder for each: it writes the file at a path. Those in `READ` are pictures all the same.
"""

from __future__ import annotations

__all__ = ["HEAVY", "IMAGES", "READ", "jpeg", "png", "unix_socket"]

import io
import os
import socket
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Builder = Callable[[Path, np.random.Generator], None]
Bytes = Callable[[np.random.Generator], bytes]
SIDE = 13_300
"""Of the picture in two kilobytes that took 2.4 GB."""
UNDER = 8_000
"""Of one that the default limit lets pass."""


def jpeg(size: tuple[int, int] = (24, 32), **options: Any) -> bytes:
    """A photograph of a few colours."""
    coarse = np.random.default_rng(1).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    picture = Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BILINEAR)
    return _encoded(picture, **{"format": "JPEG", **options})


def _encoded(picture: Image.Image, format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, format, **options)
    return stream.getvalue()


def _chunk(name: bytes, data: bytes, length: int | None = None) -> bytes:
    return struct.pack(">I", len(data) if length is None else length) + name + data + _crc(name + data)


def _crc(data: bytes) -> bytes:
    return struct.pack(">I", zlib.crc32(data))


def png(
    width: int = 32,
    height: int = 24,
    *extra: bytes,
    bits: int = 8,
    color: int = 0,
    interlace: int = 0,
    data: bytes | None = None,
    end: bytes = _chunk(b"IEND", b""),
) -> bytes:
    """A PNG of zeros, with chunks before its pixels."""
    rows = bytes(height * (1 + width)) if data is None else data
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, interlace))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + _chunk(b"IDAT", zlib.compress(rows, 1)) + end


def _bomb(size: int) -> bytes:
    return zlib.compress(bytes(size), 9)


def _sized(data: bytes, width: int, height: int) -> bytes:
    """A JPEG that says another size of itself."""
    at = next(
        location for location in range(len(data)) if data[location] == 0xFF and data[location + 1] in (0xC0, 0xC2)
    )
    return data[: at + 5] + struct.pack(">HH", height, width) + data[at + 9 :]


def _with_segment(data: bytes, marker: int, content: bytes) -> bytes:
    return data[:2] + bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content + data[2:]


def _scans(count: int) -> bytes:
    """A large progressive JPEG, one scan of which stands there many times."""
    whole = jpeg(progressive=True)
    last, end = whole.rindex(b"\xff\xda"), whole.rindex(b"\xff\xd9")
    return _sized(whole[:end] + whole[last:end] * count + whole[end:], UNDER, UNDER)


def _exif(entries: list[tuple[int, int, int, bytes]], count: int | None = None, next_at: int = 0) -> bytes:
    body = b"".join(
        struct.pack("<HHI", tag, kind, number) + value.ljust(4, b"\0") for tag, kind, number, value in entries
    )
    directory = struct.pack("<H", len(entries) if count is None else count) + body + struct.pack("<I", next_at)
    return b"Exif\0\0II*\0\x08\0\0\0" + directory


def _tiff(*changes: tuple[int, int, int, int], next_at: int = 0, pixels: bytes = bytes(24 * 32)) -> bytes:
    """A grey TIFF of one strip, some of whose tags (tag, type, count, value) are others."""
    tags = {256: (4, 1, 32), 257: (4, 1, 24), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1), 273: (4, 1, 8),
            277: (3, 1, 1), 278: (4, 1, 24), 279: (4, 1, len(pixels))}  # fmt: skip
    tags |= {tag: (kind, count, value) for tag, kind, count, value in changes}
    entries = b"".join(struct.pack("<HHII", tag, *tags[tag]) for tag in sorted(tags))
    at = 8 + len(pixels)
    return (
        b"II*\0" + struct.pack("<I", at) + pixels + struct.pack("<H", len(tags)) + entries + struct.pack("<I", next_at)
    )


def _tiff_pages(count: int, *, loop: bool = False) -> bytes:
    """Directories one after another, each of which names the next; the last one may name the first."""
    tags = [(256, 4, 1, 32), (257, 4, 1, 24), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8),
            (277, 3, 1, 1), (278, 4, 1, 24), (279, 4, 1, 768)]  # fmt: skip
    entries = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
    start, step = 8 + 768, len(entries) + 4
    pages = [start + number * step for number in range(count)]
    after = [*pages[1:], start if loop else 0]
    return b"II*\0" + struct.pack("<I", start) + bytes(768) + b"".join(entries + struct.pack("<I", at) for at in after)


def _gif(frames: int, width: int = 32, height: int = 24, lzw: bytes = b"\x02\x02\x4c\x01\x00") -> bytes:
    screen = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    frame = b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + lzw
    return screen + frame * frames + b";"


def _webp(width: int, height: int) -> bytes:
    whole = _encoded(Image.new("RGB", (32, 24)), "WEBP", lossless=True)
    at = whole.index(b"VP8L") + 9
    bits = (width - 1) | (height - 1) << 14
    return (
        whole[:at] + struct.pack("<I", bits | struct.unpack("<I", whole[at : at + 4])[0] & 0xF0000000) + whole[at + 4 :]
    )


def _bmp(width: int, height: int, bits: int = 24, compression: int = 0, offset: int = 54) -> bytes:
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + 2400, 0, 0, offset) + info + bytes(2400)


def _jp2(width: int, height: int) -> bytes:
    whole = _encoded(Image.new("RGB", (32, 24)), "JPEG2000", no_jp2=True)
    at = whole.index(b"\xff\x51") + 6
    return whole[:at] + struct.pack(">II", width, height) + whole[at + 8 :]


def _mutated(format: str, number: int) -> Bytes:
    """A picture, some bytes of which are others."""

    def build(rng: np.random.Generator) -> bytes:
        data = bytearray(_encoded(Image.open(io.BytesIO(jpeg())), format))
        for location in rng.integers(0, len(data), number):
            data[location] = rng.integers(256)
        return bytes(data)

    return build


def _cut(format: str, share: float) -> Bytes:
    def build(_: np.random.Generator) -> bytes:
        data = _encoded(Image.open(io.BytesIO(jpeg())), format)
        return data[: int(len(data) * share)]

    return build


LAUGHS = "<!DOCTYPE svg [<!ENTITY a 'aaaaaaaaaa'>" + "".join(
    f"<!ENTITY {chr(98 + i)} '{f'&{chr(97 + i)};' * 10}'>" for i in range(9)
) + "]><svg xmlns='http://www.w3.org/2000/svg'>&j;</svg>"  # fmt: skip
FRAME = struct.pack(">IIIIIHHBB", 0, 2**31 - 1, 2**31 - 1, 9, 9, 0, 0, 0, 0)
KINDS = ("JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP", "AVIF", "JPEG2000")
BYTES: dict[str, bytes | Bytes] = {
    "PNG of 2^31 pixels a side": png(2**31 - 1, 2**31 - 1, data=b""),
    "PNG of 13,300 pixels a side": png(SIDE, SIDE, data=bytes(1000)),
    "PNG of 13,300 pixels a side, all there": lambda _: png(SIDE, SIDE, bits=1, data=bytes(SIDE * 1664)),
    "PNG of 8,000 pixels a side, cut": png(UNDER, UNDER, data=bytes(1000)),
    "PNG of 16 bits and 8,000 a side": lambda _: png(UNDER, UNDER, bits=16, data=bytes(UNDER * (1 + 2 * UNDER))),
    "PNG of one row": png(60_000_000, 1),
    "PNG of one column": png(1, 60_000_000, data=bytes(120_000_000)),
    "PNG of no pixel": png(0, 0, data=b""),
    "PNG with a text of 64 MiB": lambda _: png(32, 24, _chunk(b"zTXt", b"a\0\0" + _bomb(64 << 20))),
    "PNG with a thousand texts of 1 MiB": lambda _: png(32, 24, *[_chunk(b"zTXt", b"a\0\0" + _bomb(1 << 20))] * 1000),
    "PNG with a profile of 256 MiB": lambda _: png(32, 24, _chunk(b"iCCP", b"a\0\0" + _bomb(256 << 20))),
    "PNG with an international text of 64 MiB": lambda _: png(
        32, 24, _chunk(b"iTXt", b"a\0\1\0\0\0" + _bomb(64 << 20))
    ),
    "PNG with 100,000 texts": lambda _: png(32, 24, *[_chunk(b"tEXt", b"a\0b")] * 100_000),
    "PNG with a chunk of 2^31": png(32, 24, _chunk(b"tEXt", b"a\0b", 2**31 - 1)),
    "PNG with a chunk of 2^32": png(32, 24, _chunk(b"tEXt", b"a\0b", 2**32 - 1)),
    "PNG with a wrong checksum": png()[:-20] + b"\0\0\0\0" + png()[-16:],
    "PNG with pixels of junk": png(data=b"\xff" * 100),
    "PNG that is not compressed": b"\x89PNG\r\n\x1a\n" + png()[8:33] + _chunk(b"IDAT", b"junk" * 20),
    "PNG of a palette that is not there": png(color=3),
    "PNG of bits that do not exist": png(bits=3),
    "PNG of colours that do not exist": png(color=5),
    "PNG of 2^31 frames": png(32, 24, _chunk(b"acTL", struct.pack(">II", 2**31, 0))),
    "PNG of a frame beside it": png(32, 24, _chunk(b"acTL", struct.pack(">II", 2, 0)), _chunk(b"fcTL", FRAME)),
    "PNG with metadata of junk": png(32, 24, _chunk(b"eXIf", b"II*\0\xff\xff\xff\xff")),
    "PNG interlaced, cut": png(interlace=1, data=bytes(10)),
    "PNG without an end": png(end=b""),
    "JPEG of 13,300 pixels a side": _sized(jpeg(), SIDE, SIDE),
    "JPEG of 13,300 pixels a side, progressive": _sized(jpeg(progressive=True), SIDE, SIDE),
    "JPEG of 8,000 pixels a side, cut": _sized(jpeg(), UNDER, UNDER),
    "JPEG of 8,000 pixels a side, progressive, cut": _sized(jpeg(progressive=True), UNDER, UNDER),
    "JPEG of 2,000 scans": lambda _: _scans(2000),
    "JPEG of no pixel": _sized(jpeg(), 0, 0),
    "JPEG of one row": _sized(jpeg(), 65_500, 1),
    "JPEG with metadata of junk": _with_segment(jpeg(), 0xE1, b"Exif\0\0junk"),
    "JPEG with metadata of no end": _with_segment(jpeg(), 0xE1, _exif([(0x112, 3, 1, b"\6\0")], 65_535)),
    "JPEG with metadata in a circle": _with_segment(jpeg(), 0xE1, _exif([(0x8769, 4, 1, b"\x08")], next_at=8)),
    "JPEG of an orientation of 2^32": _with_segment(jpeg(), 0xE1, _exif([(0x112, 4, 1, b"\xff" * 4)])),
    "JPEG of a million orientations": _with_segment(jpeg(), 0xE1, _exif([(0x112, 3, 1_000_000, b"\6\0")])),
    "JPEG of an orientation of text": _with_segment(jpeg(), 0xE1, _exif([(0x112, 2, 4, b"six\0")])),
    "JPEG of an orientation of nought": _with_segment(jpeg(), 0xE1, _exif([(0x112, 5, 1, bytes(4))])),
    "JPEG with 1,000 segments": jpeg()[:2] + b"\xff\xe1\0\x09Exif\0\0I" * 1000 + jpeg()[2:],
    "JPEG with a profile of parts that lack": _with_segment(jpeg(), 0xE2, b"ICC_PROFILE\0\1\xff" + bytes(9)),
    "JPEG with Photoshop's junk": _with_segment(jpeg(), 0xED, b"Photoshop 3.0\x008BIM\xff\xff\xff\xff\xff\xff\xff\xff"),
    "JPEG with previews of junk": _with_segment(jpeg(), 0xE2, b"MPF\0II*\0\x08\0\0\0\xff\xff" + bytes(40)),
    "JPEG without tables": bytes.fromhex(
        "ffd8 ffc0 0011 08 0018 0020 03 011100 021100 031100 ffda 000c 03 0100 0200 0300 003f00 ffd9"
    ),
    "JPEG of 12 bits": jpeg().replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c"),
    "JPEG without loss": jpeg().replace(b"\xff\xc0", b"\xff\xc3"),
    "JPEG of 255 channels": jpeg().replace(b"\x00\x18\x00\x20\x03", b"\x00\x18\x00\x20\xff"),
    "JPEG of its beginning alone": b"\xff\xd8",
    "JPEG of markers": b"\xff\xd8" + b"\xff" * 1_000_000,
    "TIFF of 60,000 pixels a side": _tiff((256, 4, 1, 60_000), (257, 4, 1, 60_000)),
    "TIFF of 2^32 pixels a side": _tiff((256, 4, 1, 2**32 - 1), (257, 4, 1, 2**32 - 1)),
    "TIFF of 8,000 pixels a side, cut": _tiff((256, 4, 1, UNDER), (257, 4, 1, UNDER), (278, 4, 1, UNDER)),
    "TIFF of 8,000 pixels a side, deflated": lambda _: _deflated_tiff(),
    "TIFF of 100,000 pages": lambda _: _tiff_pages(100_000),
    "TIFF of pages in a circle": _tiff_pages(3, loop=True),
    "TIFF whose page names itself": _tiff_pages(1, loop=True),
    "TIFF whose next page is beyond its end": _tiff(next_at=2**31),
    "TIFF with a tag of 2^32 values": _tiff((270, 2, 2**32 - 1, 8)),
    "TIFF with a tag of no type": _tiff((270, 99, 1, 8)),
    "TIFF of 65,535 channels": _tiff((277, 3, 1, 65_535)),
    "TIFF of 64 bits": _tiff((258, 3, 1, 64)),
    "TIFF of no bits": _tiff((258, 3, 1, 0)),
    "TIFF with its strip beyond its end": _tiff((273, 4, 1, 2**31)),
    "TIFF with a strip of 2^32": _tiff((279, 4, 1, 2**32 - 1)),
    "TIFF with no rows a strip": _tiff((278, 4, 1, 0)),
    "TIFF with tiles of no size": _tiff((322, 4, 1, 0), (323, 4, 1, 0), (324, 4, 1, 8), (325, 4, 1, 99)),
    "TIFF of a compression of junk": _tiff((259, 3, 1, 5)),
    "TIFF of JPEG's junk": _tiff((259, 3, 1, 7)),
    "TIFF of a compression that does not exist": _tiff((259, 3, 1, 12_345)),
    "TIFF in LAB": lambda _: _encoded(Image.new("LAB", (32, 24)), "TIFF"),
    "TIFF of floats": lambda _: _encoded(Image.new("F", (32, 24)), "TIFF"),
    "TIFF of 32-bit integers": lambda _: _encoded(Image.new("I", (32, 24)), "TIFF"),
    "TIFF of 2^64 bytes": b"II+\0\x08\0\0\0" + b"\xff" * 8,
    "GIF of 65,535 pixels a side": _gif(1, 65_535, 65_535),
    "GIF of 100,000 frames": lambda _: _gif(100_000),
    "GIF of junk": _gif(1, lzw=b"\x0c\x04\xff\xff\xff\xff\x00"),
    "GIF of no pixel": _gif(1, 0, 0),
    "GIF of its head alone": _gif(0)[:13],
    "WebP of 16,383 pixels a side": lambda _: _webp(16_383, 16_383),
    "WebP of 8,000 pixels a side, cut": lambda _: _webp(UNDER, UNDER),
    "WebP of frames": lambda _: _encoded(
        Image.new("RGB", (32, 24)), "WEBP", save_all=True, append_images=[Image.new("RGB", (32, 24), "red")] * 50
    ),
    "BMP of 2^31 pixels a side": _bmp(2**31 - 1, 2**31 - 1),
    "BMP upside down": _bmp(32, -(2**31)),
    "BMP of a negative width": _bmp(-32, 24),
    "BMP of no pixel": _bmp(0, 0),
    "BMP with its pixels beyond its end": _bmp(32, 24, offset=2**31),
    "BMP of run lengths of junk": _bmp(32, 24, 8, 1),
    "PPM of 10^9 pixels a side": b"P6 1000000000 1000000000 255\n" + bytes(99),
    "PPM of 10^5000 pixels": b"P6 " + b"9" * 5000 + b" 1 255\n",
    "PPM of a comment of 10 MB": b"P6 #" + b"x" * 10_000_000,
    "PPM of no values": b"P6 32 24 0\n" + bytes(2304),
    "PPM of text": b"P3 8000 8000 255\n" + b"1 " * 1000,
    "PPM of a negative size": b"P6 -5 -5 255\n",
    "JPEG 2000 of 2^31 pixels a side": lambda _: _jp2(2**31 - 1, 2**31 - 1),
    "JPEG 2000 of 8,000 pixels a side, cut": lambda _: _jp2(UNDER, UNDER),
    "SVG that laughs": LAUGHS.encode(),
    "PDF": b"%PDF-1.7\n1 0 obj<</Type/Catalog/OpenAction<</S/JavaScript/JS(app.alert(1))>>>>endobj\n%%EOF",
    "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) (r) file\n",
    "an icon": b"\0\0\1\0\1\0\0\0\0\0\1\0\x20\0\xff\xff\xff\xff\x16\0\0\0",
    "a zip file": b"PK\3\4" + bytes(100),
    "a pickle": b"\x80\x04cos\nsystem\n(S'id'\ntR.",
    "HTML": b"<html><img src=x onerror=alert(1)></html>",
    "text": b"no image\n",
    "nothing": b"",
    "a million NULs": bytes(1_000_000),
    **{f"{kind}, cut at {share:.0%}": _cut(kind, share) for kind in KINDS for share in (0.2, 0.8)},
    **{f"{kind} with 40 other bytes": _mutated(kind, 40) for kind in KINDS},
}


def _deflated_tiff() -> bytes:
    return _tiff(
        (256, 4, 1, UNDER), (257, 4, 1, UNDER), (278, 4, 1, UNDER), (259, 3, 1, 8), pixels=_bomb(UNDER * UNDER // 2)
    )


def unix_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's path is short
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path.name)
    finally:
        os.chdir(here)


PLACES: dict[str, Callable[[Path], object]] = {
    "a pipe": os.mkfifo,
    "a socket": unix_socket,
    "a folder": Path.mkdir,
    "a link to nothing": lambda path: path.symlink_to("/nowhere"),
    "a link to itself": lambda path: path.symlink_to(path),
    "a link to zeros": lambda path: path.symlink_to("/dev/zero"),
    "a link to a terminal": lambda path: path.symlink_to("/dev/tty"),
    "a link to the memory": lambda path: path.symlink_to("/proc/self/mem"),
    "a link to the kernel's memory": lambda path: path.symlink_to("/proc/kcore"),
    "a terabyte of nothing": lambda path: path.open("wb").truncate(1 << 40),
}
READ = frozenset(
    {
        "PNG with 100,000 texts", "PNG of a palette that is not there", "PNG with metadata of junk",
        "PNG interlaced, cut", "PNG without an end",
        "JPEG of 8,000 pixels a side, cut", "JPEG of 8,000 pixels a side, progressive, cut",
        "JPEG of one row", "JPEG with metadata of junk", "JPEG with metadata of no end",
        "JPEG with metadata in a circle",
        "JPEG of an orientation of 2^32", "JPEG of a million orientations", "JPEG of an orientation of text",
        "JPEG of an orientation of nought", "JPEG with 1,000 segments", "JPEG with a profile of parts that lack",
        "JPEG with Photoshop's junk", "JPEG with previews of junk", "TIFF whose page names itself",
        "TIFF with a tag of 2^32 values", "TIFF with a tag of no type", "TIFF with a strip of 2^32",
        "TIFF with tiles of no size", "PNG of 16 bits and 8,000 a side",
    }
)  # fmt: skip
"""Odd ones that are pictures all the same: a decoder makes up for what lacks, and metadata are no pixels."""
HEAVY = frozenset(
    {
        "PNG of 13,300 pixels a side, all there", "PNG of 16 bits and 8,000 a side", "PNG of one column",
        "PNG with a profile of 256 MiB", "JPEG of 8,000 pixels a side, cut",
        "JPEG of 8,000 pixels a side, progressive, cut", "WebP of 8,000 pixels a side, cut",
        "TIFF of 8,000 pixels a side, deflated", "PNG with a thousand texts of 1 MiB",
    }
)  # fmt: skip
"""Those that take a second to write or to refuse: `benchmarks.hostile` has them, the tests leave most of them out."""


def _written(data: bytes | Bytes) -> Builder:
    return lambda path, rng: (path.write_bytes(data if isinstance(data, bytes) else data(rng)), None)[1]


IMAGES: dict[str, Builder] = {
    **{name: _written(data) for name, data in BYTES.items()},
    **{name: (lambda path, _, put=put: (put(path), None)[1]) for name, put in PLACES.items()},
}
