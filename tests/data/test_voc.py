"""VOC's layout: small generated data sets, and real photographs."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest

from attn.data.boxes import boxes_of
from attn.data.sources import VocConfig
from attn.data.sources.voc import VOC_CLASSES
from attn.errors import DataError
from attn.files.locations import FileFault

NAMES = ["a_1", "b_2", "c_3"]
LABELS = [(0,), (0, 14), (7,)]


@pytest.mark.parametrize("below", ["", "VOC2012", ".."])
def test_the_folder_and_those_above_it(voc: Path, below: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        source = VocConfig(root=str(voc / below)).build()
    assert [record.image_id for record in source.records] == NAMES
    assert [record.labels for record in source.records] == LABELS
    assert source.classes == VOC_CLASSES
    assert "taken from their masks" in caplog.text
    assert all(record.saliency is None for record in source.records)


def test_examples(voc: Path, make: Any) -> None:
    source = VocConfig(root=str(voc), saliency="Saliency").build()
    example = source.load(1)
    assert example.mask is not None
    assert example.saliency is not None
    np.testing.assert_array_equal(example.mask, make.mask(15, 1, 255))
    assert example.image.shape == (20, 30, 3)
    assert sorted(np.unique(example.saliency)) == [10, 200]
    assert source.load(1, mask=False, saliency=False).mask is None
    assert boxes_of(example) == ((0, (16.0, 0.0, 23.0, 20.0)), (14, (8.0, 0.0, 16.0, 20.0)))


def test_annotations_give_labels_and_boxes(voc: Path, make: Any) -> None:
    annotations = {
        "a_1": make.annotation(("cat", 0, (1, 1, 30, 20))),
        "b_2": make.annotation(("person", 0, (2, 3, 4, 5)), ("boat", 1, (1, 1, 2, 2))),
        "c_3": make.annotation(),
    }
    make.write(voc, {f"VOC2012/Annotations/{name}.xml": text for name, text in annotations.items()})
    source = VocConfig(root=str(voc)).build()
    assert [record.labels for record in source.records] == [(7,), (3, 14), ()]
    assert source.records[0].boxes == ((7, (0.0, 0.0, 30.0, 20.0)),)
    assert source.records[1].boxes[0] == (14, (1.0, 2.0, 4.0, 5.0))
    assert [record.difficult for record in source.records] == [(), (3,), ()]
    without = VocConfig(root=str(voc), difficult=False).build().records[1]
    assert (without.labels, without.boxes, without.difficult) == ((14,), source.records[1].boxes[:1], (3,))
    both = make.annotation(("boat", 1, (1, 1, 2, 2)), ("boat", 0, (1, 1, 2, 2)))
    make.write(voc, {"VOC2012/Annotations/b_2.xml": both})
    assert VocConfig(root=str(voc)).build().records[1].difficult == (), "one of its boats is easy"
    (voc / "VOC2012/Annotations/a_1.xml").unlink()
    assert {record.difficult for record in VocConfig(root=str(voc)).build().records} == {None}
    unsized = annotations["a_1"].replace("<object>", "<size><width/><height> </height></size><object>")
    make.write(voc, {"VOC2012/Annotations/a_1.xml": unsized})
    assert VocConfig(root=str(voc)).build().records[0].annotated_size is None
    make.write(voc, {"VOC2012/Annotations/c_3.xml": make.annotation(("dragon", 0, (1, 1, 2, 2)))})
    with pytest.raises(DataError, match=r"c_3\.xml: has the class 'dragon'"):
        VocConfig(root=str(voc)).build()
    make.write(voc, {"VOC2012/Annotations/c_3.xml": "<annotation><object>"})
    with pytest.raises(DataError, match=r"c_3\.xml: is not a VOC annotation"):
        VocConfig(root=str(voc)).build()


def test_label_files(voc: Path, tmp_path: Path) -> None:
    table = np.zeros((3, 20), np.uint8)
    table[0, [2, 5]] = table[1, 0] = 1
    ids = ["a_1", "c_3", "b_2"]
    order = list(reversed(VOC_CLASSES))
    np.savez(tmp_path / "l.npz", ids=ids, labels=table, classes=order)
    content = {"ids": ids, "labels": table.tolist(), "classes": order}
    (tmp_path / "l.json").write_text(json.dumps(content))
    for name in ("l.npz", "l.json"):
        source = VocConfig(root=str(voc), labels=str(tmp_path / name)).build()
        assert [record.labels for record in source.records] == [(14, 17), (), (19,)]
    for change, words in [
        ({"ids": ["a_1", "c_3", "zz"]}, "has no labels for 1 of 3 images, such as b_2"),
        ({"classes": ["dragon", *order[1:]]}, "classes dragon"),
        ({"labels": [[2] * 20] * 3}, "0 or 1"),
        ({"labels": [[0] * 19] * 3}, "3 ids x 20 classes"),
    ]:
        (tmp_path / "l.json").write_text(json.dumps(content | change))
        with pytest.raises(FileFault, match=words):
            VocConfig(root=str(voc), labels=str(tmp_path / "l.json")).build()
    (tmp_path / "l.npz").write_bytes(b"PK no archive")
    with pytest.raises(FileFault, match=r"l\.npz: is not a readable"):
        VocConfig(root=str(voc), labels=str(tmp_path / "l.npz")).build()
    (tmp_path / "l.json").write_text('{"ids": []}')
    with pytest.raises(FileFault, match="has no labels, classes"):
        VocConfig(root=str(voc), labels=str(tmp_path / "l.json")).build()


def test_lists(voc: Path, make: Any, tmp_path: Path) -> None:
    make.write(
        voc,
        {
            "VOC2012/ImageSets/Main/cat_train.txt": "a_1 -1\nc_3  1\nb_2  0\n",
            "sbd.txt": "/JPEGImages/a_1.jpg /SegmentationClassAug/a_1.png\n",
            "relative.txt": "JPEGImages/a_1.jpg SegmentationClassAug/a_1.png\n",
            "labels.txt": "b_2 14 3\n",
            "empty.txt": "\n",
            "twice.txt": "a_1\nb_2\na_1\n",
            "out.txt": "a_1\n../../secret\n",
            "folder.txt": "x/a_1\n",
            "binary.txt": b"\xff\xfe\x00",
        },
    )

    def names(split: str) -> list[str]:
        return [record.image_id for record in VocConfig(root=str(voc), split=split).build().records]

    assert names("cat_train") == ["b_2", "c_3"]
    assert names(str(voc / "sbd.txt")) == names(str(voc / "relative.txt")) == ["a_1"]
    assert names(str(voc / "labels.txt")) == ["b_2"]
    for split, words in [
        ("dev", r"there is no split 'dev' in .*train, val.*cat_train"),
        (str(voc / "empty.txt"), "lists no images"),
        (str(voc / "twice.txt"), r"'a_1' is used for both .*twice\.txt:1 and .*twice\.txt:3"),
        (str(voc / "out.txt"), r"out\.txt:2: .*leads out of"),
        (str(voc / "folder.txt"), r"folder\.txt:1: expected an image's name, found a path with a slash"),
        (str(voc / "binary.txt"), r"binary\.txt: is not a text file"),
        (str(voc / "none.txt"), r"none\.txt: no such file"),
    ]:
        with pytest.raises(DataError, match=words):
            names(split)


def test_what_is_missing(voc: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = VocConfig(root=str(voc))
    with pytest.raises(DataError, match=r"has no VOC2007, but VOC2012; set data\.year"):
        VocConfig(root=str(voc), year=2007).build()
    with pytest.raises(DataError, match="no JPEGImages folder"):
        VocConfig(root=str(tmp_path / "none")).build()
    with pytest.raises(DataError, match=r"no labels for 3 of 3 images.*data\.labels"):
        VocConfig(root=str(voc), masks=None).build()
    for field in ("saliency", "masks", "labels"):
        with pytest.raises(DataError, match=rf"VOC2012/Salience: no such f.*data\.{field}=Salience names it"):
            VocConfig.model_validate({"root": str(voc), field: "Salience"}).build()
    (voc / "VOC2012/Saliency/a_1.png").unlink()
    source = VocConfig(root=str(voc), saliency="Saliency").build()
    assert source.load(0, saliency=False).mask is not None
    with pytest.raises(DataError, match=r"Saliency/a_1\.png: no such file"):
        source.load(0)
    (voc / "VOC2012/JPEGImages/b_2.jpg").unlink()
    with pytest.raises(DataError, match=r"1 of 3 images is missing: .*b_2\.jpg\. .*on_error=skip"):
        config.build()
    source = config.model_copy(update={"on_error": "skip"}).build()
    assert len(source.records) == 3
    assert "b_2.jpg" in caplog.text
    (voc / "VOC2012/SegmentationClass/c_3.png").unlink()
    with pytest.raises(DataError, match="no labels for 1 of 3 images, such as c_3"):
        config.build()


def test_images_without_labels_where_none_are_needed(voc: Path, make: Any, tmp_path: Path) -> None:
    """Like VOC's test split, for which only the list and the photographs are published."""
    make.write(
        voc, {"VOC2012/ImageSets/Segmentation/test.txt": "e_5\nc_3\n", "VOC2012/JPEGImages/e_5.jpg": make.jpeg(4)}
    )
    content = {"ids": ["c_3"], "labels": [[1] * 2], "classes": list(VOC_CLASSES[:2])}
    (tmp_path / "l.json").write_text(json.dumps(content))
    for settings, labels in (({}, (7,)), ({"masks": None}, ()), ({"labels": str(tmp_path / "l.json")}, (0, 1))):
        config = VocConfig(root=str(voc), split="test", **settings)
        with pytest.raises(DataError, match=r"no labels for .* of 2 images"):
            config.build()
        source = config.build(labels=False)
        assert [(record.image_id, record.labels) for record in source.records] == [("c_3", labels), ("e_5", ())]
        assert (source.records[0].mask is None) == (settings == {"masks": None})
        assert source.records[1].mask is None
        with pytest.raises(DataError, match=r"no labels for .* of 2 images"):
            config.model_copy(update={"single_label": True}).build(labels=False)
    known = VocConfig(root=str(voc))
    assert known.build(labels=False).records == known.build().records


def test_images_with_unreadable_labels_are_skipped(voc: Path, make: Any) -> None:
    make.write(voc, {"VOC2012/SegmentationClass/b_2.png": "text"})
    with pytest.raises(DataError, match=r"b_2\.png: is not an image"):
        VocConfig(root=str(voc)).build()
    source = VocConfig(root=str(voc), on_error="skip").build()
    with pytest.raises(DataError, match=r"b_2\.png: is not an image"):
        source.load(1, mask=False)  # or it would count as an image without any class
    make.write(voc, {f"VOC2012/Annotations/{name}.xml": make.annotation() for name in NAMES})
    make.write(voc, {"VOC2012/Annotations/c_3.xml": "text"})
    source = VocConfig(root=str(voc), on_error="skip").build()
    assert source.load(1, mask=False).record.labels == ()
    with pytest.raises(DataError, match=r"c_3\.xml: is not a VOC annotation"):
        source.load(2)


def test_in_an_object_store(s3_server: str, make: Any) -> None:
    client = boto3.client("s3")
    for name, data in make.voc_files().items():
        client.put_object(Bucket="attn-test", Key=f"data/{name}", Body=data)
    client.close()
    source = VocConfig(root=f"{s3_server}/data", saliency="Saliency").build()
    assert [record.labels for record in source.records] == LABELS
    example = source.load(1)
    assert example.mask is not None
    np.testing.assert_array_equal(example.mask, make.mask(15, 1, 255))
    with pytest.raises(DataError, match="train, val"):
        VocConfig(root=f"{s3_server}/data", split="dev").build()


def test_the_fingerprint_depends_only_on_names_and_labels(voc: Path, make: Any, tmp_path: Path) -> None:
    first = VocConfig(root=str(voc)).build().fingerprint()
    moved = make.write(tmp_path / "elsewhere", make.voc_files() | {"VOC2012/ImageSets/Main/t.txt": "b_2\nc_3\na_1\n"})
    assert VocConfig(root=str(moved), split="t").build().fingerprint() == first
    assert VocConfig(root=str(voc), split="val").build().fingerprint() != first


@pytest.mark.parametrize(("split", "count"), [("train", 330), ("val", 173)])
def test_the_photographs(shared: Path, split: str, count: int) -> None:
    source = VocConfig(root=str(shared / "data/voc"), split=split, saliency="Saliency").build()
    assert len(source.records) == count
    lists = np.load(shared / "data/labels/cls_labels.npz")
    assert tuple(lists["classes"]) == source.classes
    rows = dict(zip(lists["ids"], lists["labels"], strict=True))
    for record in source.records:
        assert record.labels == tuple(np.flatnonzero(rows[record.image_id]))
    for index in range(0, count, 29):
        example = source.load(index)
        assert example.mask is not None
        assert {int(value) - 1 for value in np.unique(example.mask)} - {-1, 254} == set(example.record.labels)


def test_a_list_file_means_the_same_on_every_machine(voc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (voc / "VOC2012/lists").mkdir()
    (voc / "VOC2012/lists/own.txt").write_text("a_1\n")
    (voc / "here.txt").write_text("b_2\n")
    monkeypatch.chdir(voc)
    for split, name in (("lists/own.txt", "a_1"), ("../here.txt", "b_2"), (str(voc / "here.txt"), "b_2")):
        records = VocConfig(root=str(voc), split=split).build().records
        assert [record.image_id for record in records] == [name]
    with pytest.raises(DataError, match=r"VOC2012/here\.txt: no such file; .*there is .*/here\.txt: give that full"):
        VocConfig(root=str(voc), split="here.txt").build()
    assert VocConfig(root=str(voc), split="s3://lists/own.txt").split == "s3://lists/own.txt"
    assert VocConfig(root=str(voc), split="val").split == "val"
