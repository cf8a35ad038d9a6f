"""Decoding images, masks and maps, and refusing broken or unsuitable files."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import threading
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from attn.data.decode import read_image, read_mask, read_photograph, read_saliency
from attn.files.locations import FileFault


def put(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    return str(path)


STEPS = np.array([[0, 64, 128, 255]], np.uint8)  # black to white
GREY16 = STEPS.astype(np.uint16) * 257


def tiff(
    values: np.ndarray, bits: int, photometric: int, sample_format: int = 1, *, width: int = 4, alpha: int | None = None
) -> bytes:
    """A grey TIFF of one strip, little-endian, byte by byte; with a second channel of alpha where its kind is given."""
    data = values.tobytes()
    samples, depths = (1, bits) if alpha is None else (2, bits | bits << 16)
    entries = [
        (256, 4, 1, width), (257, 4, 1, values.shape[0]), (258, 3, samples, depths),
        (259, 3, 1, 1), (262, 3, 1, photometric), (273, 4, 1, 8), (277, 3, 1, samples), (278, 4, 1, values.shape[0]),
        (279, 4, 1, len(data)), *([] if alpha is None else [(338, 3, 1, alpha)]), (339, 3, 1, sample_format),
    ]  # fmt: skip
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory + bytes(4)


def png(values: bytes, size: tuple[int, int], bits: int, *, palette: bytes = b"") -> bytes:
    """A grey PNG of (height, width), or one of a palette, from its rows, filter bytes included."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", size[1], size[0], bits, 3 if palette else 0, 0, 0, 0))]
    chunks += [(b"PLTE", palette)] if palette else []
    chunks += [(b"IDAT", zlib.compress(values)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


def test_grey_values_are_kept_in_every_mode(tmp_path: Path, make: Any) -> None:
    grey = Image.fromarray(STEPS)
    opaque = np.full_like(STEPS, 255)
    files = {mode: make.encode(grey.convert(mode), "PNG") for mode in ("RGB", "L", "RGBA", "LA")}
    files |= {
        "P": make.encode(grey.quantize(4), "PNG"),
        "transparent palette": make.encode(grey.quantize(4), "PNG", transparency=b"\0\0\0\0"),
        "CMYK": make.encode(grey.convert("RGB").convert("CMYK"), "TIFF"),
        "premultiplied grey": tiff(np.stack([STEPS // 2, opaque // 2], -1), 8, 1, alpha=1),
        "16-bit PNG": make.encode(Image.fromarray(GREY16), "PNG"),
        "16-bit PGM": b"P5 4 1 65535\n" + GREY16.astype(">u2").tobytes(),
        "16-bit TIFF": tiff(GREY16, 16, 1),
        "16-bit TIFF, white is 0": tiff(65535 - GREY16, 16, 0),
        "8-bit TIFF, white is 0": tiff(255 - STEPS, 8, 0),
        "12-bit TIFF": tiff(np.array([[0x00, 0x04, 0x04, 0x80, 0x8F, 0xFF]], np.uint8), 12, 1),
    }
    for name, data in files.items():
        pixels = read_image(put(tmp_path / "x", data))
        assert pixels.dtype == np.uint8, name
        assert np.abs(pixels.astype(int) - STEPS[..., None]).max() <= 1, name
    bits = read_image(put(tmp_path / "x", make.encode(Image.fromarray(STEPS > 100), "PNG")))
    assert bits[0, :, 0].tolist() == [0, 0, 255, 255]
    for name in ("16-bit PNG", "16-bit TIFF", "16-bit PGM", "LA", "P", "RGB"):
        np.testing.assert_allclose(read_saliency(put(tmp_path / "x", files[name]), (1, 4)), STEPS, atol=1)


def test_values_without_a_fixed_range_are_refused(tmp_path: Path, make: Any) -> None:
    two = [Image.new("L", (4, 1), level) for level in (0, 255)]
    for data, words in [
        (tiff(np.array([[0.0, 0.5, 1.0, np.nan]], np.float32), 32, 1, 3), "floating-point numbers.*8-bit grey or RGB"),
        (tiff(np.array([[0, 1, 2, 70000]], np.int32), 32, 1, 2), "32-bit integers"),
        (tiff(np.array([[0, 1, 2, -1]], np.int16), 16, 1, 2), "integers"),
        (make.encode(Image.new("LAB", (4, 1)), "TIFF"), "the colours of LAB"),
        *(
            (make.encode(two[0], kind, save_all=True, append_images=two[1:]), "has several frames")
            for kind in ("GIF", "TIFF")
        ),
        (make.encode(two[0], "PNG", save_all=True, append_images=two[1:]), "has several frames"),
    ]:
        for read in (read_image, lambda location: read_saliency(location, None)):
            with pytest.raises(FileFault, match=words):
                read(put(tmp_path / "x", data))
    assert read_image(put(tmp_path / "x", make.encode(two[1], "GIF"))).min() == 255
    with pytest.raises(FileFault, match="is a colour image"):
        read_saliency(put(tmp_path / "x", make.png(make.mask(3, 9), palette=True)), None)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "MPO"])
@pytest.mark.parametrize("flag", range(1, 9))
def test_a_photograph_is_turned_upright(tmp_path: Path, make: Any, kind: str, flag: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = flag
    data = make.encode(Image.open(io.BytesIO(make.jpeg(0, (4, 6)))), kind, exif=exif)
    photograph = read_photograph(put(tmp_path / "x", data))
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(photograph.pixels, np.asarray(expected))
    assert photograph.orientation == flag
    assert photograph.pixels.shape == ((4, 6, 3) if flag < 5 else (6, 4, 3))


@pytest.mark.parametrize(
    "junk", [b"Exif\0\0junk", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"]
)
def test_unreadable_metadata_are_ignored(tmp_path: Path, make: Any, junk: bytes) -> None:
    whole = make.jpeg(0, (4, 6))
    data = whole[:2] + b"\xff\xe1" + struct.pack(">H", len(junk) + 2) + junk + whole[2:]
    photograph = read_photograph(put(tmp_path / "x.jpg", data))
    assert photograph.orientation == 1
    np.testing.assert_array_equal(photograph.pixels, read_image(put(tmp_path / "y.jpg", whole)))


@pytest.mark.parametrize("flag", range(1, 9))
def test_masks_and_maps_are_turned_with_their_image(tmp_path: Path, make: Any, flag: int) -> None:
    stored = make.mask(1, 2, size=(4, 6))
    stored[0] = 3
    upright = np.asarray(ImageOps.exif_transpose(with_flag(Image.fromarray(stored), flag)))
    size = upright.shape
    stored_file, upright_file = (put(tmp_path / f"{i}.png", make.png(mask)) for i, mask in enumerate((stored, upright)))
    for read in (
        lambda file: read_mask(file, size, 3, orientation=flag),
        lambda file: read_saliency(file, size, orientation=flag),
    ):
        if flag in (1, 5, 6, 7, 8):
            np.testing.assert_array_equal(read(upright_file), upright)
            np.testing.assert_array_equal(read(stored_file), upright)
        else:
            with pytest.raises(FileFault, match=rf"6x4 pixels, which fits both ways.*EXIF orientation {flag}"):
                read(stored_file)
        with pytest.raises(FileFault, match="the (mask|saliency map) is for 30x20 pixels"):
            read(put(tmp_path / "other.png", make.png(make.mask(1))))
    exif = with_flag(Image.fromarray(stored), flag).getexif()
    flagged = put(tmp_path / "flagged.png", make.encode(Image.fromarray(stored), "PNG", exif=exif))
    np.testing.assert_array_equal(read_mask(flagged, size, 3, orientation=flag), upright)


def with_flag(picture: Image.Image, flag: int) -> Image.Image:
    picture.getexif()[0x0112] = flag
    picture.info["exif"] = picture.getexif().tobytes()
    return picture


def test_mask_indices_of_any_depth(tmp_path: Path, make: Any) -> None:
    for bits, row, expected in [
        (1, b"\xb0", [1, 0, 1, 1]),
        (2, b"\x1b", [0, 1, 2, 3]),
        (4, b"\x01\x2f", [0, 1, 2, 15]),
    ]:
        for palette in (b"", bytes(range(3 << bits))):
            file = put(tmp_path / "m.png", png(b"\0" + row, (1, 4), bits, palette=palette))
            assert read_mask(file, (1, 4), 15).tolist() == [expected]
    few = Image.fromarray(make.mask(1, 2, 3))
    few.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0])  # for which Pillow takes as few bits as do
    for kind in ("PNG", "TIFF", "BMP"):
        np.testing.assert_array_equal(read_mask(put(tmp_path / "m", make.encode(few, kind)), None, 3), few)
    for data, words in [
        (tiff(255 - make.mask(1), 8, 0), "stores its values inverted"),
        (make.encode(Image.fromarray(make.mask(1)), "JPEG"), "JPEG.*palette or 8-bit grey PNG"),
        (make.encode(Image.fromarray(make.mask(2)), "GIF"), "GIF.*palette or 8-bit grey PNG"),
        (b"P5 4 1 20\n" + bytes([0, 1, 2, 20]), "PPM"),
        (make.encode(Image.fromarray(GREY16), "PNG"), "is a I;16 image"),
    ]:
        with pytest.raises(FileFault, match=words):
            read_mask(put(tmp_path / "m", data), None, 3)


def test_only_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    for location in (str(tmp_path / "pipe.jpg"), "/dev/zero"):
        with pytest.raises(FileFault, match="is a pipe, socket or device"):
            read_image(location)
    with pytest.raises(FileFault, match="cannot be a file's name"):
        read_image("/a\0b")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "GIF", "BMP", "WEBP"])
def test_damaged_bytes_give_a_fault_or_an_image(tmp_path: Path, make: Any, kind: str) -> None:
    picture = Image.open(io.BytesIO(make.jpeg(0, (12, 16)))).convert("P" if kind == "GIF" else "RGB")
    picture.getexif()[0x0112] = 6
    whole = make.encode(picture, kind, **({} if kind in ("GIF", "BMP") else {"exif": picture.getexif()}))
    rng = np.random.default_rng(0)
    for _ in range(40):
        data = bytearray(whole)
        for location in rng.integers(0, len(data), 3):
            data[location] = rng.integers(256)
        for read in (read_image, lambda file: read_mask(file, None, 3), lambda file: read_saliency(file, None)):
            with contextlib.suppress(FileFault):
                read(put(tmp_path / "x", bytes(data)))


def test_mask_values_are_kept_as_they_are(tmp_path: Path, make: Any) -> None:
    mask = make.mask(3, 1, 255)
    for palette in (True, False):
        location = put(tmp_path / "m.png", make.png(mask, palette=palette))
        np.testing.assert_array_equal(read_mask(location, (20, 30), 3), mask)
    saliency = read_saliency(put(tmp_path / "s.png", make.png(mask)), (20, 30))
    np.testing.assert_array_equal(saliency, mask)


def test_broken_images_are_named(tmp_path: Path, make: Any) -> None:
    whole = make.jpeg(0, (200, 300))
    for data, words in [
        (whole[: len(whole) // 2], "is damaged"),
        (whole[:30], "is damaged|not an image"),
        (make.png(make.mask(1))[:60], "is damaged"),
        (b"I am a text\n", "not an image"),
        (b"", "is empty"),
    ]:
        with pytest.raises(FileFault, match=rf"bad\.jpg: .*({words})"):
            read_image(put(tmp_path / "bad.jpg", data))
    with pytest.raises(FileFault, match=r"none\.jpg: no such file"):
        read_image(str(tmp_path / "none.jpg"))
    with pytest.raises(FileFault, match="is a folder"):
        read_image(str(tmp_path))


def test_reading_in_threads_leaves_other_warnings_alone(
    tmp_path: Path, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = put(tmp_path / "x.jpg", make.jpeg(0))
    first, second, end = threading.Event(), threading.Event(), threading.Event()
    original = Image.open

    def in_turn(*args: Any, **options: Any) -> Any:
        """The reader that began first ends first."""
        if not first.is_set():
            first.set()
            second.wait(60)
        else:
            second.set()
            end.wait(60)
        return original(*args, **options)

    monkeypatch.setattr(Image, "open", in_turn)
    before = list(warnings.filters)
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(read_image, file)
        first.wait(60)
        other = pool.submit(read_image, file)
        one.result()
        end.set()
        other.result()
    assert list(warnings.filters) == before


def test_a_picture_of_more_pixels_than_allowed_is_refused(tmp_path: Path, make: Any) -> None:
    file = put(tmp_path / "x.png", make.png(make.mask(1)))
    with pytest.raises(FileFault, match=r"has 30x20 pixels, more than data\.max_pixels=599: .*raise"):
        read_image(file, 599)
    assert read_image(file, 600).shape == (20, 30, 3)


def test_wrong_masks_are_named(tmp_path: Path, make: Any) -> None:
    colour = make.encode(Image.new("RGB", (30, 20)), "PNG")
    for data, words in [
        (make.png(make.mask(1, size=(20, 31))), r"the mask is for 31x20 pixels, but the image has 30x20"),
        (make.png(make.mask(1, 4, 9)), r"has the values 4, 9, which are no class.*1 to 3"),
        (colour, "is a RGB image.*palette or 8-bit grey"),
    ]:
        with pytest.raises(FileFault, match=words):
            read_mask(put(tmp_path / "m.png", data), (20, 30), 3)
    with pytest.raises(FileFault, match=r"the saliency map is for 30x20 pixels, but the image has 30x21"):
        read_saliency(put(tmp_path / "s.png", make.png(make.mask(1))), (21, 30))
