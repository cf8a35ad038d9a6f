"""`attn export`: from what a command has written to files of an annotation tool, and back by `data.source`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from attn import store
from attn.data.source import Source
from attn.data.sources import CocoConfig, VocConfig
from attn.data.sources.voc import VOC_CLASSES
from tests.annotations.stored import SCENES, random_store
from tests.bundles import CLASSES, tiny_bundle, tiny_segmenter
from tests.data import layouts
from tests.services.cli.conftest import Attn

pycocotools_warns = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of NumPy 2


def masks_by_file(source: Source) -> dict[str, np.ndarray]:
    """The masks that a source reads, by the names of the images' files."""
    return {
        str(record.image).rpartition("/")[2]: mask
        for number, record in enumerate(source.records)
        if (mask := source.load(number).mask) is not None
    }


def png(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture)


@pytest.fixture
def maps(tmp_path: Path) -> Path:
    return random_store(tmp_path / "run")


@pycocotools_warns
def test_predictions(attn: Attn, tmp_path: Path) -> None:
    folder = tmp_path / "photos/more & more"
    folder.mkdir(parents=True)
    for number, name in enumerate(("a b.jpg", "c.jpg")):
        layouts.photograph(number, (40, 60)).save(folder / name)
    layouts.photograph(2, (40, 60)).save(tmp_path / "photos/c.png")
    model, out = str(tiny_bundle(tmp_path / "model")), str(tmp_path / "predictions")
    done = attn("predict", str(tmp_path / "photos"), "--model", model, "--out", out, "--probability", "0.001", "--json")
    assert done.status == 0, done.err
    predicted = {Path(one["image"]).name: one for one in done.json["images"]}
    done = attn("export", out, "--format", "coco", "--to", str(tmp_path / "coco"), "--json")
    assert done.status == 0, done.err
    assert (done.json["masks"], done.json["images"], done.json["classes"]) == ("predictions", 3, list(CLASSES))
    for path in (tmp_path / "photos").rglob("*.*g"):
        copied = tmp_path / "coco/train" / path.relative_to(tmp_path / "photos")
        assert copied.read_bytes() == path.read_bytes()
    read = masks_by_file(CocoConfig(root=str(tmp_path / "coco"), split="train").build())
    assert read.keys() == {"a b.jpg", "c.jpg", "c.png"}
    for name, mask in read.items():
        np.testing.assert_array_equal(mask, png(Path(predicted[name]["folder"], "mask.png")))
    assert any(mask.any() for mask in read.values())
    content = json.loads((tmp_path / "coco/annotations/instances_train.json").read_text())
    names = {entry["id"]: Path(entry["file_name"]).name for entry in content["images"]}
    for item in content["annotations"]:
        probability = predicted[names[item["image_id"]]]["probabilities"][CLASSES[item["category_id"] - 1]]
        assert item["score"] == pytest.approx(probability, abs=1e-6)


def test_predictions_that_cannot_be_exported(attn: Attn, tmp_path: Path) -> None:
    layouts.photograph(0).save(tmp_path / "a.jpg")
    model, out = str(tiny_bundle(tmp_path / "model")), tmp_path / "predictions"
    assert attn("predict", str(tmp_path / "a.jpg"), "--model", model, "--out", str(out)).status == 0

    def refused(*more: str) -> str:
        done = attn("export", str(out), "--format", "cvat", "--to", str(tmp_path / "cvat"), *more)
        assert done.status != 0
        assert not (tmp_path / "cvat").exists()
        return done.err

    assert "--threshold: is for stored maps" in refused("--threshold", "0.2")
    assert "data.root: " in refused("data.root=x")
    (tmp_path / "a.jpg").unlink()
    assert "--no-images" in refused()
    result = out / "a/prediction.json"
    text = result.read_text()
    for broken in (text[:-20], text.replace('"index": 0', '"index": 9'), text.replace('"labels"', '"label"')):
        result.write_text(broken)
        assert broken == text or "is no prediction" in refused("--no-images")
    result.write_text(text)
    assert attn("export", str(out), "--format", "cvat", "--to", str(tmp_path / "cvat"), "--no-images").status == 0


def test_a_damaged_prediction_leads_nowhere(attn: Attn, tmp_path: Path) -> None:
    """The image's location gives the name of the copy, and may be anything."""
    layouts.photograph(0).save(tmp_path / "a.jpg")
    model, out = str(tiny_bundle(tmp_path / "model")), tmp_path / "predictions"
    assert attn("predict", str(tmp_path / "a.jpg"), "--model", model, "--out", str(out)).status == 0
    result = out / "a/prediction.json"
    described = json.loads(result.read_text())
    for image in ("..", "/x/..", "", "a\0"):
        result.write_text(json.dumps(described | {"image": image}))
        done = attn("export", str(out), "--format", "coco", "--to", str(tmp_path / "coco"), "--no-images")
        assert (done.status, "cannot be exported" in done.err) == (1, True), image
    assert not (tmp_path / "coco").exists()


def test_masks_of_a_run_by_name_folder_and_masks(attn: Attn, tmp_path: Path) -> None:
    """Data with VOC's classes is read by `data.source=voc` from what `--format voc` writes, to the pixel."""
    config = layouts.write(layouts.voc(), tmp_path / "data")
    root = str(tmp_path / "runs")
    model = str(tiny_segmenter(tmp_path / "segmenter", classes=VOC_CLASSES))
    data = [f"data={tmp_path / 'data.yaml'}"]
    (tmp_path / "data.yaml").write_text(json.dumps(json.loads(config.model_dump_json())))
    done = attn("segment", "predict", model, *data, f"root={root}", "processes=0", "--run-id", "masks")
    assert done.status == 0, done.err
    written = {path.stem: png(path) for path in (tmp_path / "runs/masks/masks").glob("*.png")}
    assert set(written) == set(layouts.NAMES)
    for number, source in enumerate(("masks", str(tmp_path / "runs/masks"), str(tmp_path / "runs/masks/masks"))):
        out = tmp_path / f"voc{number}"
        done = attn("export", source, "--format", "voc", "--to", str(out), "--root", root, "--json")
        assert done.status == 0, done.err
        assert (done.json["masks"], done.json["images"], done.json["threshold"]) == ("masks", 4, None)
    read = VocConfig(root=str(tmp_path / "voc0")).build()
    assert [record.image_id for record in read.records] == list(layouts.NAMES)
    for number, record in enumerate(read.records):
        np.testing.assert_array_equal(read.load(number).mask, written[record.image_id])
    done = attn("export", "nothing", "--format", "voc", "--to", str(tmp_path / "x"), "--root", root)
    assert "no folder of `attn predict`, no map store, and no run in" in done.err


@pycocotools_warns
def test_stored_maps_with_a_threshold(attn: Attn, maps: Path, tmp_path: Path) -> None:
    source = SCENES.build()
    for threshold in (None, 0.7):
        out = tmp_path / f"coco-{threshold}"
        more = [] if threshold is None else ["--threshold", str(threshold)]
        done = attn("export", str(maps), "--format", "coco", "--to", str(out), *more, "--json")
        assert done.status == 0, done.err
        assert (done.json["masks"], done.json["threshold"]) == ("maps", threshold or 0.3)
        assert done.json["classes"] == list(CLASSES)
        read = masks_by_file(CocoConfig(root=str(out), split="train").build())
        snapshot = store.open(str(maps)).at()
        for number, record in enumerate(source.records):
            expected = thresholded(snapshot[record.image_id], threshold or 0.3)
            assert (read[f"{record.image_id}.png"] != expected).mean() < 0.002  # rounding at the threshold
            copied = out / "train" / f"{record.image_id}.png"  # drawn: scenes have no files
            np.testing.assert_array_equal(png(copied), source.load(number).image)
    done = attn("export", str(maps), "--format", "coco", "--to", str(tmp_path / "x"), "--threshold", "1")
    assert "a number from 0 to below 1" in done.err
    done = attn("export", str(maps), "--format", "coco", "--to", str(tmp_path / "x"), "data.count=9")
    assert "no row for labels of" in done.err


def thresholded(stored: dict[int, np.ndarray], threshold: float) -> np.ndarray:
    """Maps resized by PyTorch, divided by their maximum; the largest of those above the threshold wins."""
    import torch

    best, mask = np.full((48, 48), threshold, np.float32), np.zeros((48, 48), np.uint8)
    for index, values in sorted(stored.items()):
        small = torch.from_numpy(values).float()[None, None]
        large = torch.nn.functional.interpolate(small, (48, 48), mode="bilinear", align_corners=False)[0, 0].numpy()
        share = large / large.max()
        mask[share > best] = index + 1
        best = np.maximum(best, share)
    return mask


def test_cues_are_exported_without_their_open_pixels(attn: Attn, maps: Path, tmp_path: Path) -> None:
    root, out = f"root={tmp_path / 'runs'}", tmp_path / "labelme"
    data = ["data.count=6", "data.size=48", f"data.classes=[{', '.join(CLASSES)}]", "labels.saliency=given"]
    labels = ["labels.maps.source=store", f"labels.maps.uri={maps}"]
    done = attn("segment", "cues", "segment_scenes", *data, *labels, root, "--run-id", "cues")
    assert done.status == 0, done.err
    done = attn("export", "cues", root, "--format", "labelme", "--to", str(out), "--tolerance", "0", "--json")
    assert done.status == 0, done.err
    assert (done.json["masks"], done.json["images"]) == ("cues", 6)
    seen: set[Any] = set()
    for record in SCENES.build().records:
        cue = png(tmp_path / "runs/cues/cues" / f"{record.image_id}.png")
        seen |= set(np.unique(cue).tolist())
        shapes = json.loads((out / f"{record.image_id}.json").read_text())["shapes"]
        area = sum(shoelace(np.array(shape["points"])) for shape in shapes)
        assert area == ((cue > 0) & (cue < 255)).sum()
    assert 255 in seen


def shoelace(points: np.ndarray) -> float:
    x, y = points.T
    return abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2


def test_a_run_without_masks_says_what_makes_them(attn: Attn, tmp_path: Path) -> None:
    for kind, hint in (("train", "attn predict IMAGE... --model"), ("segment", "attn segment predict ")):
        folder = tmp_path / "runs" / kind
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(json.dumps({"id": kind, "kind": kind, "state": "done"}))
        out = str(tmp_path / "out")
        done = attn("export", kind, "--format", "coco", "--to", out, "--root", str(tmp_path / "runs"))
        assert (done.status, hint in done.err) == (1, True), done.err
