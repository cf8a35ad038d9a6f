"""The content hash changes with the files of the chosen parts, and with nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from attn.data.content import MAX_HASHED_BYTES, content, file_mark
from attn.data.sources.voc import VocConfig
from attn.files.locations import split
from attn.files.s3 import client
from tests.data.conftest import Make


def saliency_changed(make: Make, pixel: int = 7) -> bytes:
    pixels = make.mask(1)
    pixels[:] = pixel
    return make.png(pixels)


def test_a_changed_file_changes_only_the_hash_of_its_part(make: Make, tmp_path: Path) -> None:
    root = make.write(tmp_path, make.voc_files())
    config = VocConfig(root=str(root), saliency="Saliency")

    def seen() -> tuple[str, ...]:
        source = config.build()
        return content(source, ("image",)), content(source, ("mask",)), content(source, ("saliency",))

    images, masks, saliency = seen()
    make.write(root, {"VOC2012/Saliency/a_1.png": saliency_changed(make)})
    assert seen()[:2] == (images, masks)
    assert (changed := seen()[2]) != saliency
    make.write(root, {"VOC2012/JPEGImages/a_1.jpg": make.jpeg(99)})
    assert seen()[0] != images
    assert seen()[1:] == (masks, changed)
    make.write(root, {"VOC2012/JPEGImages/a_1.jpg": make.jpeg(0), "VOC2012/JPEGImages/d_4.jpg": make.jpeg(98)})
    assert seen()[0] == images, "written again with the same content, and another split's image changed"


def test_large_files_are_compared_by_size_and_time(tmp_path: Path) -> None:
    small, large = tmp_path / "small", tmp_path / "large"
    for path, size in ((small, MAX_HASHED_BYTES), (large, MAX_HASHED_BYTES + 1)):
        path.write_bytes(b"a" * size)
    marks = file_mark(str(small)), file_mark(str(large))
    for path in (small, large):
        os.utime(path, ns=(1, path.stat().st_mtime_ns + 1))
    assert file_mark(str(small)) == marks[0]
    assert file_mark(str(large)) != marks[1]
    assert file_mark(f"{small}#part") == marks[0]
    assert file_mark(str(tmp_path / "none")) not in marks


def test_objects_are_compared_by_etag(make: Make, tmp_path: Path, s3_server: str) -> None:
    for name, data in make.voc_files().items():
        bucket, key = split(f"{s3_server}/data/{name}")
        client().put_object(Bucket=bucket, Key=key, Body=data)
    source = VocConfig(root=f"{s3_server}/data", saliency="Saliency").build()
    before = content(source, ("image",)), content(source, ("saliency",))
    bucket, key = split(f"{s3_server}/data/VOC2012/Saliency/a_1.png")
    client().put_object(Bucket=bucket, Key=key, Body=saliency_changed(make))
    after = content(source, ("image",)), content(source, ("saliency",))
    assert after[0] == before[0]
    assert after[1] != before[1]
    assert file_mark(f"{s3_server}/{key}#part") == file_mark(f"{s3_server}/{key}") != file_mark(f"{s3_server}/none")


@pytest.mark.parametrize("split_", ["train", "val"])
def test_the_hash_does_not_depend_on_order_and_location(make: Make, tmp_path: Path, split_: str) -> None:
    results = set[str]()
    for name in ("one", "other"):
        root = make.write(tmp_path / name, make.voc_files())
        results.add(content(VocConfig(root=str(root), split=split_).build(), ("image", "mask")))
    assert len(results) == 1
