"""The commands of `docs/annotation.md`, from photographs to corrected masks and back, run as they stand there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from services.cli.main import app
from tests.annotations.stored import random_store
from tests.bundles import CLASSES, tiny_bundle, tiny_segmenter
from tests.data.layouts import photograph
from tests.docs.snippets import commands, snippets

PAGE = Path(__file__).parents[2] / "docs/annotation.md"

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of NumPy 2


def attn(*arguments: str) -> dict[str, Any]:
    done = CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, f"{arguments}: {done.output}"
    return json.loads(done.output.splitlines()[-1])


def correct(annotations: Path, target: Path) -> None:
    """What a person and CVAT do: remove one polygon, and export the others as COCO."""
    root = ElementTree.parse(annotations).getroot()
    names = [label.findtext("name") for label in root.iter("label")]
    images, items = list[dict[str, Any]](), list[dict[str, Any]]()
    for number, image in enumerate(root.iter("image"), 1):
        size = {side: int(image.attrib[side]) for side in ("width", "height")}
        images.append({"id": number, "file_name": image.attrib["name"], **size})
        for polygon in image.iter("polygon"):
            corners = [float(edge) for point in polygon.attrib["points"].split(";") for edge in point.split(",")]
            category = names.index(polygon.attrib["label"]) + 1
            items.append(
                {"id": len(items), "image_id": number, "category_id": category, "iscrowd": 0, "segmentation": [corners]}
            )
    assert len(items) > 1
    content = {
        "images": images,
        "annotations": items[1:],
        "categories": [{"id": number, "name": name} for number, name in enumerate(names, 1)],
    }
    target.parent.mkdir(parents=True)
    target.write_text(json.dumps(content))


def test_from_photographs_to_corrected_masks_and_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("attn.prediction.classifier.PROBABILITY", 0.01)  # the network is not trained
    Path("photos/sea").mkdir(parents=True)
    for number, name in enumerate(("a.jpg", "sea/b 1.jpg", "sea/c.jpg")):
        photograph(number, (48, 64)).save(Path("photos", name))
    tiny_bundle(Path("runs/best/model"))
    tiny_segmenter(Path("segmenter"))
    attn("segment", "predict", "segmenter", "processes=0", "panels=0", "--run-id", "masks")
    data = ["data.count=6", "data.size=48", f"data.classes=[{', '.join(CLASSES)}]", "labels.saliency=given"]
    maps = ["labels.maps.source=store", f"labels.maps.uri={random_store(Path('runs/oaa'))}"]
    attn("segment", "cues", "segment_scenes", *data, *maps, "--run-id", "cues")

    results: dict[str, dict[str, Any]] = {}
    for snippet in snippets(PAGE, PAGE.name):
        for words in commands(snippet.text):
            assert words[0] == "attn", words
            if "data.root=corrected" in words and not Path("corrected").exists():
                correct(Path("for_cvat/annotations.xml"), Path("corrected/annotations/instances_default.json"))
            if words[1] == "segment":  # a training takes minutes: here its config and data are checked
                words = [words[0], "validate", *words[2 : words.index("--run-id")]]
            results[" ".join(words[:3])] = attn(*words[1:])
    assert results["attn export predictions"]["images"] == 3
    assert results["attn evaluate best"]["masked"] == 3
    assert results["attn evaluate best"]["scores"]["seed_miou"] > 0
    assert {results[f"attn export {name}"]["masks"] for name in ("masks", "runs/oaa/store", "cues")} == {
        "masks",
        "maps",
        "cues",
    }
