"""Bad input of every kind: one clear error that says what, and how to mend it; the right exit status; no traceback."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from attn.models import ModelConfig

SMALL = ["data.count=16", "data.size=32", "input.size=32", "tracking.enabled=false"]


class Code:
    """A pickle that would run a command."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("/tmp/attn-was-here"),))


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    """A data set of four images in VOC's layout, with masks for three of them."""
    root = tmp_path / "VOC2012"
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    names = [f"2007_00000{number}" for number in range(4)]
    for number, name in enumerate(names):
        Image.fromarray(np.full((40, 50, 3), 60 * number, np.uint8)).save(root / f"JPEGImages/{name}.jpg")
        mask = np.zeros((40, 50), np.uint8)
        mask[10:20, 10:30] = number + 1
        Image.fromarray(mask).save(root / f"SegmentationClass/{name}.png")
    for split in ("train", "val"):
        (root / f"ImageSets/Segmentation/{split}.txt").write_text("\n".join(names) + "\n")
    return root


def scenes(*overrides: str) -> tuple[str, ...]:
    return ("train", "scenes_gain", *SMALL, *overrides)


def photographs(voc: Path, *overrides: str) -> tuple[str, ...]:
    model = ("model.name=tiny", "model.weights=null", "model.stride=8", "input.size=32", "training.batch_size=2")
    return ("train", "gain", f"data.root={voc}", *model, "tracking.enabled=false", "cluster.workers=1", *overrides)


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("train", "gian"), 2, ["gian", "did you mean gain?"]),
        (("train", "missing.yaml"), 2, ["missing.yaml", "cannot be read"]),
        (scenes("training.epoch=3"), 2, ["training.epoch", "did you mean training.epochs?"]),
        (scenes("training.epochs=three"), 2, ["training.epochs", "a whole number"]),
        (scenes("training.epochs=0", "seed=-1", "optimizer.lr=0"), 2, ["3 faults", "training.epochs", "seed", "lr"]),
        (scenes("training.batch_size=9"), 2, ["multiple of cluster.workers"]),
        (scenes("method.name=gane"), 2, ["method.name", "did you mean gain?"]),
        (scenes("method.map_kind=cam", "method.layer=inner"), 2, ["map_kind=cam", "set layer=last"]),
        (scenes("model.name=resnet19"), 2, ["resnet19", "resnet18"]),
        (scenes("model.stride=32"), 2, ["stride=32", "set stride to"]),
        (scenes("data.split=dev"), 1, ["'dev'", "train, val, test"]),
        (scenes("data.objects=[5, 2]"), 1, ["objects"]),
        (scenes("tracking.enabled=true", "tracking.uri=https://me:hunter2@host"), 2, ["MLFLOW_TRACKING_PASSWORD"]),
        (scenes("tracking.enabled=true", "tracking.uri=http://127.0.0.1:9"), 1, ["http://127.0.0.1:9"]),
        (("evaluate", "no-such-model"), 1, ["no-such-model", "model.json"]),
        (("resume", "no-such-run"), 1, ["no-such-run", "attn ls"]),
        (("train", "scenes_gain", "--run-id", "../out", *SMALL), 1, ["../out", "not valid"]),
        (("train", "scenes_gain", "--run-id", "", *SMALL), 1, ["''", "not valid"]),
        (("doctor", "bogus=1"), 2, ["bogus is not a known field"]),
    ],
    ids=lambda value: " ".join(value[:6]) if isinstance(value, tuple) else None,
)
def test_bad_input(
    attn: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    status: int,
    words: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    check(attn(*arguments), status, words)


def check(done: Any, status: int, words: list[str]) -> None:
    assert done.status == status, done.err
    assert done.err.count("error: ") == 1
    assert "Traceback" not in done.err
    assert "hunter2" not in done.err
    for word in words:
        assert word in " ".join(done.err.split()), done.err


def test_a_broken_file_and_not_yaml(attn: Any, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("data: {source: scenes\nmethod: [")
    check(attn("train", str(path)), 2, ["mine.yaml:", "not valid YAML"])


def test_an_image_that_is_not_there(attn: Any, voc: Path) -> None:
    (voc / "JPEGImages/2007_000002.jpg").unlink()
    check(attn(*photographs(voc)), 1, ["1 of 4 images is missing", "2007_000002.jpg", "data.on_error=skip"])


def test_a_split_that_is_not_there(attn: Any, voc: Path) -> None:
    check(attn(*photographs(voc, "data.split=trian")), 1, ["trian", "train, val"])


def test_data_check_lists_broken_files(attn: Any, voc: Path) -> None:
    picture = voc / "JPEGImages/2007_000001.jpg"
    picture.write_bytes(picture.read_bytes()[:200])
    Image.fromarray(np.zeros((10, 10), np.uint8)).save(voc / "SegmentationClass/2007_000003.png")
    done = attn("data", "check", "data.source=voc", f"data.root={voc}")
    assert done.status == 1
    assert "2007_000001.jpg" in done.out
    assert "2007_000003.png" in done.out


def test_data_check_without_data(attn: Any) -> None:
    done = attn("data", "check", "data.source=voc", "data.root=/no/such/folder")
    assert (done.status, done.err) == (1, "")
    assert "/no/such/folder" in done.out


def test_more_masks_asked_for_than_there_are(attn: Any, voc: Path) -> None:
    arguments = photographs(voc, "method.extra_supervision=masks", "method.extra_images=40")
    told = ["method.extra_images=40 needs 40 images with masks", "only 4 of 4", "set method.extra_images to 4 or fewer"]
    check(attn(*arguments), 1, told)


def test_weights_that_are_not_there(attn: Any, voc: Path, tmp_path: Path) -> None:
    check(attn(*photographs(voc, f"model.weights={tmp_path}/w.pth")), 1, [f"{tmp_path}/w.pth"])


def test_weights_that_are_a_text(attn: Any, voc: Path, tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_text("not found\n")
    check(attn(*photographs(voc, f"model.weights={tmp_path}/w.pth")), 1, ["w.pth"])


def test_weights_that_are_a_pickle_with_code_are_not_run(attn: Any, voc: Path, tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(pickle.dumps(Code()))
    check(attn(*photographs(voc, f"model.weights={tmp_path}/w.pth")), 1, ["w.pth"])
    assert not Path("/tmp/attn-was-here").exists()


def test_weights_of_another_network(attn: Any, voc: Path, tmp_path: Path) -> None:
    other = ModelConfig.model_validate({"name": "squeezenet1_1", "weights": None}).build(3)
    torch.save(other.state_dict(), tmp_path / "w.pth")
    check(attn(*photographs(voc, f"model.weights={tmp_path}/w.pth")), 1, ["w.pth"])


def test_imagenet_weights_on_a_machine_without_a_network(
    attn: Any, voc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    arguments = photographs(voc, "model.name=resnet18", "model.weights=imagenet", "model.stride=16")
    check(attn(*arguments), 1, ["resnet18", ".pth", "model.weights="])


def test_a_root_that_cannot_be_written(attn: Any, tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file is in the way")
    check(attn(*scenes(f"root={tmp_path}/runs")), 1, [f"{tmp_path}/runs", "cannot be written"])


@pytest.mark.parametrize("command", [("resume",), ("repro",), ("diff", "damaged")])
def test_a_run_whose_state_is_damaged(
    attn: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    for text in ("{", "[1]"):
        (tmp_path / "runs" / "damaged").mkdir(parents=True, exist_ok=True)
        (tmp_path / "runs" / "damaged" / "run.json").write_text(text)
        check(attn(*command, "damaged"), 1, ["run.json is damaged"])


@pytest.mark.parametrize("text", ["{", "[1]", "3"])
def test_a_model_whose_description_is_damaged(attn: Any, tmp_path: Path, text: str) -> None:
    (tmp_path / "model.json").write_text(text)
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    check(attn("predict", f"{tmp_path}/a.png", "--model", str(tmp_path)), 1, ["is not a model description"])


def test_a_model_for_other_classes(attn: Any, tmp_path: Path, voc: Path) -> None:
    from attn.data.transforms import InputConfig
    from attn.models.bundle import save_bundle

    model = ModelConfig.model_validate({"name": "tiny", "weights": None})
    save_bundle(
        tmp_path / "model",
        model.build(2).state_dict(),
        model=model,
        classes=("cat", "dog"),
        input=InputConfig(size=32),
        map_kind="grad_cam",
        layers=(),
        config_yaml="",
        info={},
    )
    arguments = ("evaluate", f"{tmp_path}/model", "data.source=voc", f"data.root={voc}", f"root={tmp_path}/runs")
    check(attn(*arguments), 1, ["2 classes", "20"])
    described = json.loads((tmp_path / "model/model.json").read_text())
    (tmp_path / "model/model.json").write_text(json.dumps({**described, "sha256": "0" * 64}))
    check(attn(*arguments), 1, ["SHA-256 differs"])
