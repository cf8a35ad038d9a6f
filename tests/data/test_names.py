"""Image ids: unique file names for previews and panels; ids that cannot be file names are refused early."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attn.data.check import check_config
from attn.data.names import MAX_PART_BYTES, file_stem, name_fault
from attn.data.sample import Example, Record
from attn.data.sources import FolderConfig, ManifestConfig, VocConfig
from attn.errors import DataError
from attn.files.transfer import write_bytes
from attn.segmentation.masks import mask_name
from attn.segmentation.pictures import masks_panel

ODD = [
    "犬一",
    "犬二",
    "cat/1",
    "cat_1",
    "cat 1",
    "a" * 300,
    "a" * 301,
    ".a",
    "a",
    "é",
    unicodedata.normalize("NFD", "é"),
]


def test_unusual_ids_have_distinct_files() -> None:
    stems = {file_stem(name) for name in [*ODD, *map(file_stem, ODD)]}
    assert len(stems) == len({*ODD, *map(file_stem, ODD)})
    assert file_stem("2007_000032") == "2007_000032"
    assert file_stem("cat/1").startswith("cat_1-")


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), unique=True))
def test_file_stems_are_unique(ids: list[str]) -> None:
    names = [*ids, *(file_stem(name) for name in ids)]
    stems = [file_stem(name) for name in names]
    assert len(set(stems)) == len(set(names))
    assert all(re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,110}", stem) for stem in stems)


@pytest.mark.parametrize(
    "name", ["", "a//b", "/a", "a/", "../a", "a/./b", "a\\b", "a\nb", "\udcff", "a" * 241, "犬" * 81, "a/" * 401 + "a"]
)
def test_ids_that_are_not_file_names_are_refused(name: str, tmp_path: Path, make: Any) -> None:
    assert name_fault(name)
    with pytest.raises(DataError, match="cannot be a file's name"):
        mask_name(name)


def test_the_longest_name_can_be_written(tmp_path: Path) -> None:
    name = "a" * MAX_PART_BYTES
    assert name_fault(name) is None
    write_bytes(str(tmp_path / f"{name}_253.png"), b"x")
    assert os.listdir(tmp_path) == [f"{name}_253.png"]


def _manifest(root: Path, make: Any, rows: str, *files: str) -> ManifestConfig:
    make.write(root, {"t.csv": rows, **{name: make.jpeg(number) for number, name in enumerate(files)}})
    return ManifestConfig(manifest=str(root / "t.csv"))


def test_paths_of_windows_and_absolute_ones_give_ids_that_work_everywhere(tmp_path: Path, make: Any) -> None:
    rows = "﻿image,labels\r\nimg\\0.jpg,a\r\nimg/b c.jpg,b\r\n" + f"{tmp_path}/img/é.jpg,b\r\n"
    config = _manifest(tmp_path, make, rows, "img/0.jpg", "img/b c.jpg", "img/é.jpg", "other/x.jpg")
    assert [record.image_id for record in config.build().records] == ["img/0", "img/b c", "img/é"]
    assert check_config(config).ok
    below = config.model_copy(update={"root": str(tmp_path / "other"), "manifest": f"{tmp_path}/u.csv"})
    make.write(tmp_path, {"u.csv": f"image,labels\n{tmp_path}/img/0.jpg,a\nx.jpg,b\n"})
    assert [record.image_id for record in below.build().records] == [f"{tmp_path}/img/0"[1:], "x"]
    for record in (*config.build().records, *below.build().records):
        assert mask_name(record.image_id) == f"{record.image_id}.png"


@pytest.mark.parametrize("id", ["img\\0", "../0", "x" * 300, "0/", "a\x07"])
def test_ids_that_cannot_be_paths_of_cues_are_refused(tmp_path: Path, make: Any, id: str) -> None:
    config = _manifest(tmp_path, make, f"image,labels,id\n0.jpg,a,{id}\n1.jpg,b,1\n", "0.jpg", "1.jpg")
    with pytest.raises(DataError, match="image id .*another id in a table's column 'id'"):
        config.build()
    assert not check_config(config).ok


def test_file_names_that_are_not_utf_8_are_refused(tmp_path: Path, make: Any) -> None:
    make.write(tmp_path, {"train/a/0.jpg": make.jpeg(0), "train/b/0.jpg": make.jpeg(1)})
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/train/a/\xff.jpg")).write_bytes(make.jpeg(2))
    config = FolderConfig(root=str(tmp_path))
    with pytest.raises(DataError, match=r"'a/\\udcff' is not UTF-8; rename"):
        config.build()
    report = check_config(config)
    assert not report.ok
    str(report).encode()


def test_names_in_nfd_match_names_in_nfc(tmp_path: Path, make: Any) -> None:
    composed, apart = "é", unicodedata.normalize("NFD", "é")
    make.write(tmp_path, {f"train/{apart}/{apart}.jpg": make.jpeg(0), "train/b/0.jpg": make.jpeg(1)})
    source = FolderConfig(root=str(tmp_path), classes=("b", composed)).build()
    assert [(record.image_id, record.labels) for record in source.records] == [
        ("b/0", (0,)),
        (f"{apart}/{apart}", (1,)),
    ]
    assert source.load(1).image.shape == (20, 30, 3)
    config = _manifest(
        tmp_path, make, f"image,labels\ntrain/{apart}/{composed}.jpg,{apart}|{composed}\ntrain/b/0.jpg,b\n"
    )
    with pytest.raises(DataError, match=r"1 of 2 images is missing.*\(there is .*the Unicode form \(NFC, NFD\) differ"):
        config.build()
    whole = _manifest(tmp_path, make, f"image,labels\ntrain/{apart}/{apart}.jpg,{apart}|{composed}\ntrain/b/0.jpg,b\n")
    assert whole.build().classes == ("b", composed)


def test_lists_with_windows_line_ends(voc: Path, make: Any) -> None:
    lists = {"bom.txt": "﻿a_1\r\nc_3\r\n", "space.txt": "my photo\n"}
    make.write(voc, {f"VOC2012/ImageSets/Main/{name}": text for name, text in lists.items()})
    assert [record.image_id for record in VocConfig(root=str(voc), split="bom").build().records] == ["a_1", "c_3"]
    with pytest.raises(
        DataError, match=r"space\.txt:1: expected an image's name, found a space.*data\.source=manifest"
    ):
        VocConfig(root=str(voc), split="space").build()


def test_errors_for_other_classes_suggest_a_table(voc: Path, make: Any) -> None:
    make.write(voc, {"VOC2012/ImageSets/Main/own.txt": "p\n", "VOC2012/JPEGImages/p.png": make.png(make.mask(1))})
    make.write(voc, {"VOC2012/SegmentationClass/p.png": make.png(make.mask(1))})
    config = VocConfig(root=str(voc), split="own")
    with pytest.raises(DataError) as refused:
        config.build()
    for item in (str(check_config(config)), str(refused.value)):
        assert re.search(r"p\.jpg \(there is 'p\.png'\).*data\.source=manifest .*image,labels,mask", item)
    make.write(
        voc, {"VOC2012/JPEGImages/p.jpg": make.jpeg(1), "VOC2012/SegmentationClass/p.png": make.png(make.mask(21))}
    )
    with pytest.raises(DataError, match=r"values 21, which are no class.*data\.source=manifest"):
        config.build()
    make.write(voc, {"VOC2012/Annotations/p.xml": make.annotation(("zebra", 0, (1, 1, 2, 2)))})
    with pytest.raises(DataError, match=r"class 'zebra'.*data\.source=manifest"):
        config.build()


def test_a_number_is_shown_with_the_files_name() -> None:
    for image_id, image, title in (
        ("9", "/d/cat at home.jpg", "9 (cat at home.jpg)"),
        ("16", "s3://b/train/p16.png", "16 (p16.png)"),
        ("9", "/d/000000000009.jpg", "9"),
        ("0", "/d/0000.jpg", "0"),
        ("0", None, "0"),
        ("cat/1", "/d/cat/1.jpg", "cat/1"),
        ("2008_000002", "/d/2008_000002.jpg", "2008_000002"),
    ):
        record = Record(image_id, (0,), image)
        assert record.title == title
        example = Example(record, np.zeros((8, 8, 3), np.uint8))
        data = masks_panel(example, ["cat"], {})
        assert (data.title, data.image_id) == (title, image_id), "files are named by the id"
