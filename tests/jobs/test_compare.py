"""One picture of several models: `attn compare`, and the job behind it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from PIL import Image
from typer.testing import CliRunner

from attn.data.sources.generated import ScenesConfig
from attn.data.transforms import InputConfig
from attn.errors import ConfigError, DataError, WeightsError
from attn.models.bundle import save_bundle
from attn.models.network import ModelConfig
from jobs import compare
from jobs.compare import CompareResult
from services.cli.main import app

CLASSES = ScenesConfig().classes[:3]


def save(folder: Path, seed: int, count: int = 9, classes: tuple[str, ...] = CLASSES) -> None:
    torch.manual_seed(seed)
    model = ModelConfig(name="tiny", weights=None)
    data = f"data: {{source: scenes, count: {count}, size: 48, objects: [2, 2], classes: [{', '.join(classes)}]}}"
    save_bundle(
        folder,
        model.build(len(classes)).state_dict(),
        model=model,
        classes=classes,
        input=InputConfig(size=48),
        map_kind="grad_cam",
        layers=(),
        config_yaml=f"{data}\nvalidation: {{split: val}}\n",
        info={},
    )


def run(targets: dict[str, str], overrides: list[str], *, confusion: bool = False) -> CompareResult:
    return compare.run(compare.load(targets, overrides, confusion=confusion))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder of runs with three trained models, of which `other` was trained on other data."""
    for seed, name in enumerate(("first", "second")):
        save(tmp_path / name / "model", seed)
    save(tmp_path / "other" / "model", 2, count=5)
    return tmp_path


def test_a_model_of_other_classes_is_named(root: Path) -> None:
    save(root / "narrow" / "model", 3, classes=CLASSES[:2])
    given = [f"root={root}", f"data.classes=[{', '.join(CLASSES)}]"]
    with pytest.raises(DataError, match=rf"^the model narrow has 2 classes, .*the model narrow lacks {CLASSES[2]}\."):
        compare.load({"A": "first", "B": "narrow"}, given)


def test_one_row_a_model_on_the_same_images(root: Path) -> None:
    result = run({"Grad-CAM": "first", "AttnBN": "second"}, [f"root={root}", "panels=3"])
    assert len(result.images) == 3
    assert all(name.startswith("val-") for name in result.images)
    picture = np.asarray(Image.open(result.picture))
    alone = np.asarray(Image.open(run({"Grad-CAM": "first"}, [f"root={root}", "panels=3"]).picture))
    assert picture.shape[0] > alone.shape[0]
    again = np.asarray(Image.open(run({"Grad-CAM": "first", "AttnBN": "first"}, [f"root={root}", "panels=3"]).picture))
    assert (picture != again).any()
    state = json.loads(Path(result.folder, "run.json").read_text())
    assert (state["kind"], state["state"], state["compared"]) == (
        "compare", "done", {"Grad-CAM": "first", "AttnBN": "second"},
    )  # fmt: skip


def test_the_record_has_the_picture(root: Path) -> None:
    result = run({"a": "first", "b": "second"}, [f"root={root}", "panels=1", "tracking.enabled=true"])
    client = MlflowClient(f"sqlite:///{root}/mlflow.db")
    assert client.get_run(result.tracking_run).info.status == "FINISHED"
    assert "comparison.png" in {artifact.path for artifact in client.list_artifacts(result.tracking_run)}


def test_other_images_missing_models_and_nothing_to_draw_are_refused(root: Path) -> None:
    with pytest.raises(DataError, match=r"b is on other images than a: give the same data\.\*"):
        run({"a": "first", "b": "other"}, [f"root={root}"])
    assert len(run({"a": "first", "b": "other"}, [f"root={root}", "data.count=4", "panels=2"]).images) == 2
    with pytest.raises(WeightsError, match="nothing"):
        run({"a": "nothing"}, [f"root={root}"])
    with pytest.raises(DataError, match="no image to draw: panels=0"):
        run({"a": "first"}, [f"root={root}", "panels=0"])
    with pytest.raises(ConfigError, match="nothing to compare"):
        run({}, [])


def test_from_the_command_line(root: Path) -> None:
    call = CliRunner().invoke
    arguments = ["compare", "first", "second", f"root={root}", "panels=1", "--titles", "Grad-CAM, AttnBN", "--json"]
    result = call(app, arguments)
    assert result.exit_code == 0
    state = Path(json.loads(result.stdout.splitlines()[-1])["folder"], "run.json")
    assert json.loads(state.read_text())["compared"] == {"Grad-CAM": "first", "AttnBN": "second"}
    refused = call(app, ["compare", "first", "second", f"root={root}", "--titles", "one"])
    assert refused.exit_code == 2
    assert "1 titles for 2 models" in refused.output
    for titles in ([], ["--titles", "first,first"]):  # a row's title is else its model's name
        refused = call(app, ["compare", "first", "first", f"root={root}", *titles])
        assert refused.exit_code == 2
        assert "several rows have the title first" in refused.output


def overlap_of(result: CompareResult) -> dict[str, dict[str, float]]:
    assert result.overlap is not None
    return result.overlap


def test_confusion_is_drawn_and_scored_at_both_layers(root: Path) -> None:
    places = [f"root={root}", "panels=2", "tracking.enabled=true", "data.objects=[1, 1]"]
    result = run({"before": "first", "after": "second"}, places, confusion=True)
    overlaps = overlap_of(result)
    layers = {title: sorted(overlap) for title, overlap in overlaps.items()}
    assert layers == {"before": ["inner", "last"], "after": ["inner", "last"]}
    assert all(0 <= value <= 1 for overlap in overlaps.values() for value in overlap.values())
    assert overlaps["before"] != overlaps["after"]
    assert json.loads(Path(result.folder, "run.json").read_text())["overlap"] == overlaps
    client = MlflowClient(f"sqlite:///{root}/mlflow.db")
    names = {artifact.path for artifact in client.list_artifacts(result.tracking_run)}
    assert names >= {"comparison.png", "overlap.json"}
    # An overview for a screen, and each image in full: both models, two layers with two maps and their overlap each.
    height, width = np.asarray(Image.open(result.picture)).shape[:2]
    assert height <= 900
    assert width <= 1500
    panels = sorted(Path(result.folder, "panels").iterdir())
    assert [panel.stem for panel in panels] == sorted(result.images)
    assert {artifact.path for artifact in client.list_artifacts(result.tracking_run, "panels")} == {
        f"panels/{panel.name}" for panel in panels
    }
    alone = run({"before": "first"}, [*places, "panels=1", "batch_size=3"], confusion=True)
    assert overlap_of(alone)["before"] == pytest.approx(overlaps["before"], abs=1e-5)
    other = run({"before": "first"}, [*places, "map_kind=pixel"], confusion=True)
    assert overlap_of(other)["before"] != overlap_of(alone)["before"]
    with pytest.raises(ConfigError, match="map_kind=cam is of the last layer alone"):
        run({"before": "first"}, [*places, "map_kind=cam"], confusion=True)
