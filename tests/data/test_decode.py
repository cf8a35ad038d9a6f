"""Pixels from files, and files that are not what they should be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from attn.data.decode import read_image, read_mask, read_saliency
from attn.data.files import FileFault


def put(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    return str(path)


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "CMYK", "1", "I;16"])
def test_any_mode_becomes_rgb(tmp_path: Path, make: Any, mode: str) -> None:
    picture = Image.new("RGB", (6, 4), (255, 255, 255))
    picture = Image.fromarray(np.full((4, 6), 65535, np.uint16)) if mode == "I;16" else picture.convert(mode)
    kind = "TIFF" if mode in ("CMYK", "I;16") else "PNG"
    image = read_image(put(tmp_path / "x", make.encode(picture, kind)))
    assert image.shape == (4, 6, 3)
    assert image.dtype == np.uint8
    assert image.min() > 250


def test_a_photograph_is_turned_upright(tmp_path: Path, make: Any) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise to see it
    picture = Image.new("RGB", (6, 4))
    assert read_image(put(tmp_path / "x.jpg", make.encode(picture, "JPEG", exif=exif))).shape == (6, 4, 3)


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


def test_an_enormous_picture_is_refused(tmp_path: Path, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(FileFault, match="more than 200 pixels"):
        read_image(put(tmp_path / "x.png", make.png(make.mask(1))))


def test_wrong_masks_are_named(tmp_path: Path, make: Any) -> None:
    colour = make.encode(Image.new("RGB", (30, 20)), "PNG")
    for data, words in [
        (make.png(make.mask(1, size=(20, 31))), r"the mask is 31x20, its image 30x20"),
        (make.png(make.mask(1, 4, 9)), r"holds the values 4, 9, which are no class.*1 to 3"),
        (colour, "is a RGB image.*palette or 8-bit grey"),
    ]:
        with pytest.raises(FileFault, match=words):
            read_mask(put(tmp_path / "m.png", data), (20, 30), 3)
    with pytest.raises(FileFault, match=r"the saliency map is 30x20, its image 30x21"):
        read_saliency(put(tmp_path / "s.png", make.png(make.mask(1))), (21, 30))
