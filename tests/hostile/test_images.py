"""Image files that are made to break what decodes them: one fault each, in bounded time and memory."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from attn.data.check import check_config
from attn.data.decode import MAX_PIXELS, read_image, read_mask, read_saliency
from attn.data.pixel_budget import PixelBudget
from attn.data.sources import FolderConfig
from attn.data.transforms import InputConfig, draw_geometry
from attn.errors import DataError
from attn.files.locations import FileFault
from attn.pictures.layout import Tile, grid
from attn.prediction.classifier import mask_of_maps
from benchmarks.store.memory import Peak
from tests.data.layouts import folder, write
from tests.hostile.images import HEAVY, IMAGES, READ, jpeg, png

MEMORY, SECONDS = 4 << 30, 20


def read_all(names: list[str], place: Path) -> None:
    """Print for each file what becomes of it as an image, as a mask and as a saliency map, and in how much CPU time."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    peak = Peak()  # what the kernel counts of a process begins with what its parent had
    for number, name in enumerate(names):
        path = place / f"{number}.jpg"
        IMAGES[name](path, np.random.default_rng(number))
        messages: list[str] = []
        began = time.process_time()
        for read in (read_image, lambda file: read_mask(file, None, 3), lambda file: read_saliency(file, None)):
            try:
                read(str(path))
                messages.append("")
            except FileFault as fault:
                messages.append(fault.problem)
        print(
            json.dumps({"name": name, "told": messages, "seconds": time.process_time() - began, "memory": peak.bytes})
        )


def test_every_file_is_read_or_one_fault_and_within_bounds(tmp_path: Path) -> None:
    names = [name for name in IMAGES if name not in HEAVY]
    assert len(names) > 100
    code = "import sys, pathlib, json; from tests.hostile.test_images import read_all; " \
           "read_all(json.load(sys.stdin), pathlib.Path(sys.argv[1]))"  # fmt: skip
    child = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], input=json.dumps(names), capture_output=True,
        text=True, timeout=1500, check=False,
    )  # fmt: skip
    lines = [json.loads(line) for line in child.stdout.splitlines()]
    last = lines[-1]["name"] if lines else "none"
    assert child.returncode == 0, f"{last} is the last one that was read\n{child.stderr}"
    for line in lines:
        name, message = line["name"], line["told"]
        assert (message[0] == "") == (name in READ) or "other bytes" in name, line  # which may be of no matter
        assert all(len(problem) < 400 for problem in message), line
        assert line["seconds"] < SECONDS, line
        assert line["memory"] < 1 << 29, line  # beside the program itself
    assert len(lines) == len(names)


def test_a_limit_of_pixels_is_told_by_its_name(tmp_path: Path) -> None:
    root = tmp_path / "data"
    result = folder()
    result.files["train/dog/b.jpg"] = png(300, 200)
    config = write(result, root)
    assert isinstance(config, FolderConfig)
    config = config.model_copy(update={"masks": None, "saliency": None})
    assert check_config(config).ok
    small = config.model_copy(update={"max_pixels": 59_999})
    (error,) = check_config(small).errors
    assert "b.jpg: has 300x200 pixels, more than data.max_pixels=59999: make it smaller, or raise" in error.message
    with pytest.raises(DataError, match=r"data\.max_pixels=59999"):
        small.build().load(2)
    for kind in ("WEBP", "AVIF", "JPEG2000"):
        file = tmp_path / "x"
        Image.new("RGB", (30, 20)).save(file, kind)
        with pytest.raises(FileFault, match=rf"more than data\.max_pixels=1199 \({kind} counts twice\)"):
            read_image(str(file), 1199)
        assert read_image(str(file), 1200).shape == (20, 30, 3)


def test_a_mask_of_another_size_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    file = tmp_path / "m.png"
    file.write_bytes(png(2**31 - 1, 1, data=b""))
    small = tmp_path / "s.png"
    small.write_bytes(png(13_300, 13_300, data=b""))
    for location, words in (
        (file, "more than 178956970 pixels"),
        (small, "for 13300x13300 pixels, but .* has 32x24"),
    ):
        with pytest.raises(FileFault, match=words):
            read_mask(str(location), (24, 32), 3)
        with pytest.raises(FileFault, match=words):
            read_saliency(str(location), (24, 32))


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1", "I;16", "LA", "CMYK"])
def test_strips_give_what_the_whole_gives(mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).integers(0, 256, (37, 53, 3), dtype=np.uint8)
    deep = Image.fromarray(values[..., 0].astype(np.uint16) * 257)
    picture = deep if mode == "I;16" else Image.fromarray(values).convert(mode)
    file = str(tmp_path / "x.tif")
    picture.save(file, "TIFF")
    whole = read_image(file)
    grey = read_saliency(file, None) if mode in ("L", "1", "I;16", "LA") else None
    expected = values[..., :1].repeat(3, -1) if mode == "I;16" else np.asarray(picture.convert("RGB"))
    np.testing.assert_array_equal(whole, expected)
    monkeypatch.setattr("attn.data.decode.PIXELS_AT_ONCE", 53 * 5)
    np.testing.assert_array_equal(read_image(file), whole)
    if grey is not None:
        np.testing.assert_array_equal(read_saliency(file, None), grey)


def test_a_jpeg_of_many_scans_is_refused_where_it_is_large_only(tmp_path: Path) -> None:
    whole = jpeg(progressive=True)
    last, end = whole.rindex(b"\xff\xda"), whole.rindex(b"\xff\xd9")
    file = tmp_path / "x.jpg"
    file.write_bytes(whole[:end] + whole[last:end] * 100 + whole[end:] + b"\xff\xda" * 10_000)
    assert read_image(str(file)).shape == (24, 32, 3)


def test_threads_share_a_budget_of_pixels() -> None:
    budget, order = PixelBudget(100), list[str]()
    held, go = threading.Event(), threading.Event()

    def first() -> None:
        with budget.keep():
            with budget.take(60):
                pass
            with budget.take(70):  # who holds one waits for no other
                order.append("first has two")
            held.set()
            go.wait(60)
            order.append("first ends")

    def second() -> None:
        held.wait(60)
        with budget.take(1):
            order.append("second")

    threads = [threading.Thread(target=work) for work in (first, second)]
    for thread in threads:
        thread.start()
    held.wait(60)
    time.sleep(0.05)
    assert order == ["first has two"]
    go.set()
    for thread in threads:
        thread.join(60)
    assert order == ["first has two", "first ends", "second"]
    with budget.take(10**9):  # alone, it may be as large as it is
        pass


def test_a_long_narrow_image_becomes_no_enormous_input_or_picture() -> None:
    config = InputConfig(size=224, resize="short_side")
    with pytest.raises(DataError, match=r"131072x1 .* an input of 29360128x224 with input\.resize=short_side"):
        draw_geometry(config, (1, 131_072), None)
    assert draw_geometry(config, (500, 2000), None).size == (224, 896)
    sheet = grid([[Tile(np.zeros((1, 131_072, 3), np.uint8), "a")]], height=40)
    assert sheet.pixels.shape[1] < 1000
    assert MAX_PIXELS >= 61_000_000  # a full-frame camera's


def test_a_mask_is_made_map_by_map_as_of_all_maps_at_once() -> None:
    values = np.random.default_rng(1).integers(0, 5, (3, 9, 11)).astype(np.float32) / 4  # with many ties
    stack = np.stack([np.full((9, 11), 0.5, np.float32), *values])
    expected = np.array([0, 1, 3, 5])[stack.argmax(0)]
    np.testing.assert_array_equal(
        mask_of_maps(dict(zip((1, 3, 5), values, strict=True)), (9, 11), threshold=0.5), expected
    )
