"""VOC's test split, of which nothing but the photographs is known, and VOC's scores where objects are difficult."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from attn.config.document import dump_values
from attn.data.decode import read_mask
from attn.data.sources.voc import VOC_CLASSES
from attn.data.transforms import InputConfig
from attn.models import ModelConfig
from attn.models.bundle import save_bundle
from attn.segmentation.bundle import save_segmenter
from attn.segmentation.networks import SegmentationModelConfig
from attn.segmentation.predict import SegmentInferenceConfig

SIZES = {"2008_000001": (40, 50), "2008_000002": (30, 20)}
INPUT = InputConfig(size=32)


@pytest.fixture
def work_dir(tmp_path: Path) -> Path:
    """VOC's test split as it is handed out, a segmentation network and a classifier."""
    root = tmp_path / "VOCdevkit/VOC2012"
    for folder in ("JPEGImages", "ImageSets/Segmentation", "SegmentationClass", "Annotations"):
        (root / folder).mkdir(parents=True)
    (root / "ImageSets/Segmentation/test.txt").write_text("\n".join(SIZES))
    for seed, (name, (height, width)) in enumerate(SIZES.items()):
        pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(pixels).save(root / f"JPEGImages/{name}.jpg")
    config = dump_values({"data": {"source": "voc", "root": str(root), "split": "train"}})
    torch.manual_seed(0)
    network = SegmentationModelConfig.model_validate({"name": "tiny", "weights": None, "stride": 8})
    inference = SegmentInferenceConfig(crf=None)
    save_segmenter(
        tmp_path / "segmenter", network.build(20).state_dict(),
        model=network, classes=VOC_CLASSES, input=INPUT, inference=inference, config_yaml=config, info={},
    )  # fmt: skip
    model = ModelConfig.model_validate({"name": "tiny", "weights": None})
    save_bundle(
        tmp_path / "classifier", model.build(20).state_dict(),
        model=model, classes=VOC_CLASSES, input=INPUT, map_kind="grad_cam", layers=(), config_yaml=config, info={},
    )  # fmt: skip
    return tmp_path


def test_masks_for_the_voc_server(attn: Any, work_dir: Path) -> None:
    arguments = ("data.split=test", "--voc-submission", f"root={work_dir}/runs", "processes=0")
    done = attn("segment", "predict", f"{work_dir}/segmenter", *arguments, "--json")
    assert done.status == 0, done.err
    result = done.json
    assert (result["images"], result["masked"], result["scores"]) == (2, 0, {})
    assert result["notes"] == ["2 of 2 images have no mask and do not count"]
    with tarfile.open(result["submission"]) as archive:
        archive.extractall(work_dir / "sent", filter="data")
    results = sorted((work_dir / "sent").rglob("*.png"))
    assert [path.stem for path in results] == sorted(SIZES)
    assert {path.parent for path in results} == {work_dir / "sent/results/VOC2012/Segmentation/comp6_test_cls"}
    for path in results:
        mask = read_mask(str(path), SIZES[path.stem], 20)  # of the image's own size, values 0 to 20
        assert mask.max() <= 20


def test_maps_of_predicted_classes(attn: Any, work_dir: Path) -> None:
    arguments = (f"{work_dir}/classifier", "data.split=test", f"root={work_dir}/runs", "output.kind=png")
    done = attn("maps", *arguments, "classes=predicted", "probability=0.1", "--json")
    assert done.status == 0, done.err
    assert done.json["images"] == 2
    assert len(list(Path(done.json["png"]).glob("*.png"))) == done.json["maps"] > 0


@pytest.mark.parametrize(
    "arguments",
    [("maps", "classifier"), ("maps", "classifier", "classes=both"), ("evaluate", "classifier")],
    ids=" ".join,
)
def test_what_needs_labels_says_so(attn: Any, work_dir: Path, arguments: tuple[str, ...]) -> None:
    command, model, *more = arguments
    done = attn(command, f"{work_dir}/{model}", "data.split=test", f"root={work_dir}/runs", *more)
    assert done.status == 1
    assert "test.txt: no labels for 2 of 2 images, such as 2008_000001" in done.err


def annotation(*objects: tuple[str, int]) -> str:
    box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
    parts = [f"<object><name>{name}</name><difficult>{hard}</difficult>{box}</object>" for name, hard in objects]
    return f"<annotation>{''.join(parts)}</annotation>"


def test_average_precision_by_vocs_protocol(attn: Any, work_dir: Path) -> None:
    said = {"2008_000001": annotation(("dog", 0)), "2008_000002": annotation(("cat", 0), ("dog", 1))}
    arguments = (f"{work_dir}/classifier", "data.split=test", f"root={work_dir}/runs", "panels=0", "--json")
    for name, text in said.items():
        (work_dir / "VOCdevkit/VOC2012/Annotations" / f"{name}.xml").write_text(text)
    done = attn("evaluate", *arguments, "evaluation.average_precision=voc2010")
    assert done.status == 0, done.err
    score = json.loads((Path(done.json["folder"]) / "scores.json").read_text())["scores"]["mean_ap"]
    assert (score["protocol"]["average_precision"], score["protocol"]["difficult"]) == ("voc2010", "ignored")
    # Without the difficult dog no image is left that has none; of the cat's two images either may come first.
    assert {name: value for name, value in score["per_class"].items() if value is not None}.keys() == {"cat"}
    assert score["value"] in (0.5, 1.0)
    assert done.json["notes"][0] == "mean_ap (voc2010): 1 (image, class) pairs with only difficult objects do not count"
    assert (
        done.json["protocols"]["mean_ap"] == score["hash"] != attn("evaluate", *arguments).json["protocols"]["mean_ap"]
    )
