"""A data set with every kind of fault: all of them are listed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from attn.data.check import check, check_config
from attn.data.sources import FolderConfig, ManifestConfig, ScenesConfig, VocConfig


def test_a_sound_data_set(voc: Path) -> None:
    report = check_config(VocConfig(root=str(voc), saliency="Saliency"))
    assert report.ok
    assert report.findings == ()
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
    found = {(finding.severity, finding.kind, finding.image_id) for finding in report.findings}
    assert found == {
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
    assert all(str(finding) in text for finding in report.findings)


def test_a_label_without_a_box_is_a_warning(tmp_path: Path, make: Any) -> None:
    rows = 'image,labels,boxes\na.jpg,one|two,"[{""label"": ""one"", ""box"": [5, 5, 9, 9]}]"\nb.jpg,one,'
    root = make.write(tmp_path, {"list.csv": rows, "a.jpg": make.jpeg(0), "b.jpg": make.jpeg(1)})
    report = check_config(ManifestConfig(manifest=str(root / "list.csv")))
    assert [str(finding) for finding in report.findings] == [
        "warning (boxes) a: labelled two, but there is no such box"
    ]


def test_a_source_that_cannot_be_built(tmp_path: Path) -> None:
    report = check_config(FolderConfig(root=str(tmp_path)))
    assert not report.ok
    assert [finding.kind for finding in report.findings] == ["source"]
    assert "1 error, 0 warnings\n  error (source) train: " in str(report)
    assert "no class folders" in str(report)
