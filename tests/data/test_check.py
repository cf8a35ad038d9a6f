"""A data set with every kind of fault: all of them are listed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from attn.data.check import Finding, Report, check, check_config
from attn.data.class_check import class_findings
from attn.data.sources import CocoConfig, FolderConfig, ManifestConfig, ScenesConfig, VocConfig
from attn.data.sources.voc import VOC_CLASSES
from attn.errors import DataError


def test_a_sound_data_set(voc: Path) -> None:
    report = check_config(VocConfig(root=str(voc), saliency="Saliency"))
    assert report.ok
    (empty,) = report.findings
    assert (empty.severity, empty.kind, empty.image_id) == ("warning", "classes", "17 classes")
    assert set(empty.message.rpartition(": ")[2].split(", ")) == set(VOC_CLASSES) - {"aeroplane", "cat", "person"}
    assert (report.images, report.with_mask, report.with_boxes, report.with_saliency) == (3, 3, 0, 3)
    assert {name: count for name, count in report.per_class.items() if count} == {"aeroplane": 2, "cat": 1, "person": 1}
    assert "3 images, 3 with a mask" in str(report)
    assert check(ScenesConfig(count=3, size=48).build()).ok


def test_every_fault_is_listed(tmp_path: Path, make: Any) -> None:
    names = ["good", "bare", "strange", "small", "cut", "text", "gone", "plain", "twin", "grey", "dim", "boxed"]
    photo = make.jpeg(9, (120, 160))
    pictures = {f"i/{name}.jpg": make.jpeg(number) for number, name in enumerate(names)}
    pictures |= {"i/cut.jpg": photo[: len(photo) // 2], "i/text.jpg": "text", "i/twin.jpg": pictures["i/good.jpg"]}
    del pictures["i/gone.jpg"]
    masks = {f"m/{name}.png": make.png(make.mask(1)) for name in names}
    masks |= {
        "m/bare.png": make.png(make.mask(2)),  # shows class 2, is labelled 1
        "m/strange.png": make.png(make.mask(1, 7)),
        "m/small.png": make.png(make.mask(1, size=(20, 29))),
        "m/cut.png": "text",
    }
    saliency = {f"s/{name}.png": make.png(make.mask(200)) for name in names}
    saliency |= {"s/dim.png": make.png(make.mask(1, size=(5, 5))), "s/small.png": b""}
    rows = ["image,labels,mask,saliency,id,boxes"]
    for name in names:
        labels = "" if name == "plain" else "one"
        mask = "" if name == "plain" else f"m/{name}.png"
        boxes = '"[{""label"": ""one"", ""box"": [5, 5, 40, 10]}]"' if name == "boxed" else ""
        rows.append(f"i/{name}.jpg,{labels},{mask},s/{name}.png,{name},{boxes}")
    root = make.write(tmp_path, pictures | masks | saliency | {"list.csv": "\n".join(rows)})
    report = check_config(ManifestConfig(manifest=str(root / "list.csv"), classes=("one", "two")))
    results = {(finding.severity, finding.kind, finding.image_id) for finding in report.findings}
    assert results == {
        ("error", "mask", "strange"),
        ("error", "mask", "small"),
        ("error", "saliency", "small"),
        ("error", "image", "cut"),
        ("error", "mask", "cut"),
        ("error", "image", "text"),
        ("error", "image", "gone"),
        ("error", "saliency", "dim"),
        ("warning", "mask", "bare"),
        ("warning", "labels", "plain"),
        ("warning", "classes", "two"),
        ("warning", "duplicate", "twin"),
        ("warning", "boxes", "boxed"),
    }
    assert not report.ok
    bare = [finding.message for finding in report.warnings if finding.image_id == "bare"]
    assert bare == ["labelled one, but the mask has none of it", "the mask has two, but the labels do not"]
    content = json.loads(json.dumps(report.to_json()))
    assert content["errors"] == len(report.errors) == 8
    assert content["per_class"] == {"one": 11, "two": 0}
    text = str(report)
    assert all(f"{finding.shown}: {finding.message}" in text for finding in report.findings)
    assert "  3 errors (mask)\n    cut (row 5): " in text
    assert "  warning (labels) plain (row 8): has no label" in text, "a single one has no heading"


def test_a_label_without_a_box_is_a_warning(tmp_path: Path, make: Any) -> None:
    rows = 'image,labels,boxes\na.jpg,one|two,"[{""label"": ""one"", ""box"": [5, 5, 9, 9]}]"\nb.jpg,one,'
    root = make.write(tmp_path, {"list.csv": rows, "a.jpg": make.jpeg(0), "b.jpg": make.jpeg(1)})
    report = check_config(ManifestConfig(manifest=str(root / "list.csv")))
    assert [str(finding) for finding in report.findings] == [
        "warning (boxes) a (row 1): labelled two, but there is no such box"
    ]


def test_a_class_that_mask_classes_lacks_hides_nothing_else(tmp_path: Path, make: Any) -> None:
    """One misspelt label of a small table, beside a missing file, a row twice and a label that no class is like."""
    pictures = {f"{name}.jpg": make.jpeg(number) for number, name in enumerate("abcdefgh")}
    masks = {f"{name}.png": make.png(make.mask(2)) for name in "abcdefgh"}
    labels = ["aeroplane"] * 6 + ["cat"] * 2
    rows = [f"{name}.jpg,{label},{name}.png" for name, label in zip("abcdefgh", labels, strict=True)]
    rows[3] = rows[3].replace("aeroplane", "aeroplan")
    rows += ["gone.jpg,cat,", "b.jpg,aeroplane,b.png", "h.jpg,zebu,"]
    root = make.write(tmp_path, pictures | masks | {"list.csv": "\n".join(["image,labels,mask", *rows])})
    config = ManifestConfig(manifest=str(root / "list.csv"), mask_classes=("cat", "aeroplane"))
    report = check_config(config)
    lacks = "data.mask_classes lacks aeroplan (row 4; did you mean aeroplane?), zebu (row 11). It names the values"
    messages = [finding.message for finding in report.errors if finding.kind == "row"]
    assert len(messages) == 3
    assert lacks in messages[0]
    assert f"image id 'b' is used for both {root}/b.jpg (row 2) and {root}/b.jpg (row 10)" in messages
    assert f"image id 'h' is used for both {root}/h.jpg (row 8) and {root}/h.jpg (row 11)" in messages
    assert [one.shown for one in report.errors if one.kind == "image"] == ["gone (row 9)"]
    assert report.per_class == {"aeroplan": 1, "aeroplane": 6, "cat": 3, "zebu": 1}
    assert not any("labelled aeroplane" in one.message for one in report.findings), "masks are read by mask_classes"
    assert "is probably a misspelling of aeroplane (6 images): it has 1 image" in str(report)
    with pytest.raises(DataError, match=r"row 4; did you mean aeroplane\?"):
        config.build()
    with pytest.raises(DataError, match=r"gone\.jpg \(row 9\)"):
        config.model_copy(update={"mask_classes": ("cat", "aeroplane", "aeroplan", "zebu")}).build()


def test_a_folder_that_mask_classes_lacks_hides_nothing_else(tmp_path: Path, make: Any) -> None:
    pictures = {f"train/{name}/{number}.jpg": make.jpeg(number) for number, name in enumerate(["cat", "dog", "dgo"])}
    masks = {f"masks/{name}/{number}.png": make.png(make.mask(1)) for number, name in enumerate(["cat", "dog", "dgo"])}
    root = make.write(tmp_path, pictures | masks | {"train/cat/broken.jpg": "text"})
    report = check_config(FolderConfig(root=str(root), masks="masks", mask_classes=("cat", "dog")))
    lacks, broken = report.errors
    assert "data.mask_classes lacks dgo (folder dgo" in lacks.message
    assert (broken.kind, broken.image_id, report.images) == ("image", "cat/broken", 4)


def test_a_misprint_in_data_classes_hides_nothing_else(tmp_path: Path, make: Any) -> None:
    rows = "image,labels\na.jpg,aeroplane\nb.jpg,cat\nbroken.jpg,cat"
    root = make.write(tmp_path, {"list.csv": rows, "a.jpg": make.jpeg(0), "b.jpg": make.jpeg(1), "broken.jpg": "text"})
    report = check_config(ManifestConfig(manifest=str(root / "list.csv"), classes=("aeroplan", "cat")))
    misprint, broken = report.errors
    assert misprint.message.endswith("there is no class 'aeroplan': did you mean aeroplane?")
    assert broken.shown == "broken (row 3)"


def test_a_source_that_cannot_be_built(tmp_path: Path) -> None:
    report = check_config(FolderConfig(root=str(tmp_path)))
    assert not report.ok
    assert [finding.kind for finding in report.findings] == ["source"]
    assert "1 error, 0 warnings\n  error (source) train: " in str(report)
    assert "no class folders" in str(report)


def test_findings_of_a_kind_are_counted_and_few_are_shown() -> None:
    findings = [
        Finding("warning", "duplicate", f"b{number}", f"has the same pixels as a{number}") for number in range(9)
    ]
    report = Report(9, 0, 0, 0, {"one": 9}, (*findings, Finding("error", "image", "x", "is cut")))
    assert report.text(2).splitlines()[2:] == [
        "1 error, 9 warnings",
        "  error (image) x: is cut",
        "  9 warnings (duplicate)",
        "    b0: has the same pixels as a0",
        "    b1: has the same pixels as a1",
        "    ... and 7 more",
    ]
    assert (report.has_more(2), report.has_more(9), "more" in str(report)) == (True, False, False)


def test_faulty_rows_hide_nothing_else(tmp_path: Path, make: Any) -> None:
    """Each kind of faulty row of a table, beside a broken image and a twin."""
    pictures = {f"{name}.jpg": make.jpeg(number) for number, name in enumerate(["a", "b", "c", "d", "e"])}
    pictures |= {"broken.jpg": "text", "twin.jpg": pictures["a.jpg"]}
    rows = ["image,labels,id,boxes,split", "a.jpg,one,,,", "b.jpg,two,,,", "twin.jpg,one,,,", "broken.jpg,two,,,",
            "c.jpg,one,a,,",  # an id twice
            "d.jpg,[one],,,",  # a list as text
            ",one,,,",  # no image
            "e.jpg,one,,nothing,",  # boxes that are no JSON
            "../out.jpg,one,,,",
            "b.jpg,two,b2,,,and more"]  # fmt: skip
    root = make.write(tmp_path, pictures | {"list.csv": "\n".join(rows)})
    report = check_config(ManifestConfig(manifest=str(root / "list.csv")))
    messages = [finding.message for finding in report.findings if finding.kind == "row"]
    assert [next((part for part in messages if word in part), None) is not None for word in (
        "image id 'a' is used for both", "row 6: labels: a list", "row 7: the column 'image' is empty", "row 8: boxes",
        "row 9: image: a path that leads out", "row 10 has 6 cells",
    )] == [True] * 6, messages  # fmt: skip
    assert {(one.kind, one.image_id) for one in report.findings if one.kind != "row"} == {
        ("image", "broken"), ("duplicate", "twin"), ("duplicate", "b2"),
    }  # fmt: skip
    assert (report.images, report.ok) == (6, False)
    with pytest.raises(DataError, match="row 10 has 6 cells"):
        ManifestConfig(manifest=str(root / "list.csv")).build()


def test_faulty_entries_of_coco_hide_nothing_else(tmp_path: Path, make: Any) -> None:
    images = [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "broken.jpg"}, {"id": 1, "file_name": "b.jpg"},
              {"id": 3}, {"id": 4, "file_name": "b.jpg", "width": -1, "height": 2}]  # fmt: skip
    notes = [{"image_id": 1, "category_id": 1}, {"image_id": 9, "category_id": 1}, {"image_id": 1, "category_id": 9},
             {"image_id": 2, "category_id": 2, "bbox": [1, 2]}, {"category_id": 1},
             {"image_id": 2, "category_id": 2, "iscrowd": 7}]  # fmt: skip
    categories = [{"id": 1, "name": "one"}, {"id": 2, "name": "two"}]
    content = json.dumps({"images": images, "annotations": notes, "categories": categories})
    files = {"train/a.jpg": make.jpeg(0), "train/b.jpg": make.jpeg(1), "train/broken.jpg": "text"}
    root = make.write(tmp_path, files | {"annotations/instances_train.json": content})
    report = check_config(CocoConfig(root=str(root), split="train"))
    messages = [finding.message.partition("instances_train.json: ")[2] or finding.message for finding in report.errors]
    assert [message for message in messages if "broken.jpg" in message]
    for words in ("images[3] lacks id or file_name", "images[4] has a width", "annotations[4] lacks image_id",
                  "annotations[1] is for image 9", "annotations[2] has category 9",
                  "annotations[3] has an invalid bbox",
                  "annotations[5] has an iscrowd", "image id '1' is used for both"):  # fmt: skip
        assert any(message.startswith(words) for message in messages), (words, messages)


def test_a_faulty_line_of_voc_hides_nothing_else(voc: Path) -> None:
    names = voc / "VOC2012" / "ImageSets" / "Segmentation" / "train.txt"
    names = names if names.exists() else next(voc.rglob("Segmentation/train.txt"))
    lines = names.read_text().splitlines()
    names.write_text("\n".join([*lines, "two words", lines[0], "../x"]))
    report = check_config(VocConfig(root=str(voc)))
    assert report.images == 3
    assert len([finding for finding in report.errors if finding.kind == "row"]) == 3


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of NumPy 2, in pycocotools
@pytest.mark.parametrize(("outlined", "masks"), [(False, 0), (True, 2)])
def test_an_image_without_annotations_has_no_mask_where_none_are_outlined(
    outlined: bool, masks: int, tmp_path: Path, make: Any
) -> None:
    """Where objects have outlines, an image without objects is known to be background; boxes alone say nothing."""
    item: dict[str, Any] = {"image_id": 1, "category_id": 1, "bbox": [1, 1, 20, 20]}
    item |= {"segmentation": [[1, 1, 21, 1, 21, 21]]} if outlined else {}
    images = [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg"}]
    content = {"images": images, "annotations": [item], "categories": [{"id": 1, "name": "cat"}]}
    pictures = {"train/a.jpg": make.jpeg(0), "train/b.jpg": make.jpeg(1)}
    root = make.write(tmp_path, pictures | {"annotations/instances_train.json": json.dumps(content)})
    report = check_config(CocoConfig(root=str(root), split="train"))
    assert (report.images, report.with_mask, report.with_boxes) == (2, masks, 1)


def test_a_repeated_id_of_coco_is_told_with_what_follows_from_it(tmp_path: Path, make: Any) -> None:
    """Image 2 is listed as 1: its annotation says so, and no box is held against the other image."""
    images = [{"id": 1, "file_name": "a.jpg"}, {"id": 1, "file_name": "b.jpg"}]
    items = [{"image_id": 1, "category_id": 1, "bbox": [1, 1, 60, 60]}, {"image_id": 2, "category_id": 1}]
    content = {"images": images, "annotations": items, "categories": [{"id": 1, "name": "cat"}]}
    pictures = {"train/a.jpg": make.jpeg(0, size=(32, 32)), "train/b.jpg": make.jpeg(1, size=(64, 64))}
    root = make.write(tmp_path, pictures | {"annotations/instances_train.json": json.dumps(content)})
    report = check_config(CocoConfig(root=str(root), split="train"))
    (first, second) = (finding.message for finding in report.errors if finding.kind == "row")
    assert first.endswith(
        "annotations[1] is for image 2, which is not listed; it may be one of these: "
        "images[0] and images[1] have the id 1"
    )
    assert second.startswith("image id '1' is used for both ")
    assert not [finding for finding in report.findings if finding.kind == "boxes"]
    images[1]["id"] = 3
    make.write(root, {"annotations/instances_train.json": json.dumps(content)})
    report = check_config(CocoConfig(root=str(root), split="train"))
    assert report.errors[0].message.endswith("which is not listed; list the image, or remove the annotation")
    assert "the cat box [1.0, 1.0, 61.0, 61.0] is empty or leaves 32x32: correct or remove it" in {
        finding.message for finding in report.warnings
    }


def test_images_of_coco_are_named_by_their_files(tmp_path: Path, make: Any) -> None:
    """Their ids are numbers; the report has the id as a field. The order is that of 0.1, by which runs are repeated."""
    names = {7: "10.jpg", 40: "9.jpg", 300: "b/2.jpg", 2: "a10.jpg", 1: "a9.jpg"}
    images = [{"id": number, "file_name": name} for number, name in names.items()]
    content = {"images": images, "annotations": [{"image_id": 7, "category_id": 1}],
               "categories": [{"id": 1, "name": "cat"}]}  # fmt: skip
    pictures = {f"train/{name}": make.jpeg(1, size=(32, 32)) for name in names.values()}
    root = make.write(tmp_path, pictures | {"annotations/instances_train.json": json.dumps(content)})
    config = CocoConfig(root=str(root), split="train")
    assert [record.image_id for record in config.build().records] == ["1", "2", "300", "40", "7"]
    report = check_config(config)
    assert {one.image_id for one in report.findings if one.kind == "duplicate"} == {"2", "300", "40", "7"}
    text = report.text()
    for words in ("40 (9.jpg): has no label", "300 (2.jpg): has the same pixels as 1 (a9.jpg)"):
        assert words in text, text


def test_findings_with_one_message_are_one_line() -> None:
    text = "the mask has cat, but the labels do not"
    findings = [Finding("warning", "mask", f"Cats/{number}", text) for number in range(32)]
    report = Report(40, 40, 0, 0, {"cat": 40}, (*findings, Finding("warning", "mask", "dog/1", "labelled dog")))
    assert report.text(5).splitlines()[2:] == [
        "0 errors, 33 warnings",
        "  33 warnings (mask)",
        f"    Cats/0 and 31 more: {text}",
        "    dog/1: labelled dog",
    ]
    assert report.has_more(5)
    assert str(report).count(text) == 32


def test_a_folder_named_by_the_plural_is_a_probable_misspelling() -> None:
    for wrong, right in (("Cats", "cat"), ("foxes", "Fox"), ("ponies", "pony"), ("cats", "cat"), ("cat", "Cats")):
        assert f"is probably a misspelling of {right}" in dict(class_findings({right: 12, wrong: 8}))[wrong]
    assert dict(class_findings({"a": 9, "as": 9, "cat": 9, "cab": 9, "glass": 9, "class": 9, "1": 9, "1s": 9})) == {}


def test_misspelled_and_nearly_empty_classes() -> None:
    many = dict.fromkeys(["aeroplane", "bicycle", "bird", "boat", "cat"], 50)
    assert dict(class_findings(many)) == {}
    results = dict(class_findings(many | {"aeroplan": 1, "Cat": 60, "goat": 40, "horse": 2, "sheep": 0}))
    assert results.keys() == {"aeroplan", "cat", "horse", "sheep"}
    assert results["aeroplan"].startswith("is probably a misspelling of aeroplane (50 images): it has 1 image;")
    assert results["cat"].startswith("is probably a misspelling of Cat (60 images)")
    assert results["horse"] == "has 2 images, and the classes' median is 50: too few to learn or score it"
    assert results["sheep"].startswith("has 0 images:")
    empty = dict(class_findings({"cat": 4, **dict.fromkeys(("emu", "zebra", "kiwi"), 0)}))
    assert empty.keys() == {"3 classes"}, "in one line, also if most classes have none"
    assert empty["3 classes"].startswith("have 0 images:")
    assert empty["3 classes"].endswith(": emu, zebra, kiwi")
    # VOC's names are known even where no image has the right one, if most classes are VOC's.
    assert "motorbike, a class of VOC" in dict(class_findings(many | {"motorbik": 50}))["motorbik"]
    assert dict(class_findings({"motorbik": 50, "zebra": 50, "kite": 50, "bird": 50})) == {}
    # In a small data set one slip is more than a tenth, but at most a third.
    few = {"aeroplane": 6, "cat": 6, "horse": 6, "sheep": 2}
    assert dict(class_findings(few)) == {}
    assert dict(class_findings(few | {"aeroplan": 1})).keys() == {"aeroplan"}
    assert dict(class_findings(few | {"hrose": 2})).keys() == {"hrose"}
    assert dict(class_findings(few | {"hrose": 3})) == dict(class_findings(few | {"sheap": 1})) == {}
    # Two swapped letters are one slip, as a missing, doubled or wrong one is.
    for slip in ("hrose", "hosre", "Horse", "horses", "hors"):
        assert "is probably a misspelling of horse" in dict(class_findings({"horse": 50, slip: 1}))[slip]
    assert dict(class_findings({"horse": 50, "shore": 20, "bare": 30, "bear": 40, "act": 20, "cat": 30})) == {}
    # Numbered names, short names and names that only look alike are no misspellings.
    assert dict(class_findings({"n01440764": 5, "n01440767": 90, "class_1": 5, "class_11": 80})) == {}
    assert dict(class_findings({"cat": 1, "car": 9, "cap": 9, "horse": 9, "house": 9})) == {}
