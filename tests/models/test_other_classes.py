"""Trained weights under other classes: rows go by the classes' names, and what became of them is said."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from attn.data.sources.generated import ScenesConfig
from attn.data.transforms import InputConfig
from attn.errors import WeightsError
from attn.files.locations import sha256_of
from attn.models import ModelConfig
from attn.models.bundle import save_bundle
from attn.runs.recipes import load_config
from attn.runs.table import build_components
from attn.segmentation.bundle import save_segmenter
from attn.segmentation.config import SegmentConfig
from attn.segmentation.networks import SegmentationModelConfig
from attn.segmentation.predict import SegmentInferenceConfig
from attn.training.train_config import TrainConfig

BOAT, PLANE, SHEEP, COW = "boat", "plane", "sheep", "cow"
OLD = (BOAT, PLANE, SHEEP)
HEADS: dict[str, dict[str, Any]] = {
    "gap": {"name": "tiny", "head": "gap"},
    "conv": {"name": "tiny", "head": "conv", "head_convolutions": 1, "head_width": 8},
}


@pytest.fixture(scope="module", params=HEADS)
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ModelConfig]:
    """A trained classifier of `OLD`, whose biases tell its rows apart."""
    model = ModelConfig.model_validate({"weights": None} | HEADS[request.param])
    network, folder = model.build(OLD), tmp_path_factory.mktemp(request.param) / "model"
    _rows(network)[1].copy_(torch.arange(1.0, 4.0))
    about: dict[str, Any] = {"input": InputConfig(size=32), "map_kind": "grad_cam", "layers": (), "info": {}}
    save_bundle(folder, network.state_dict(), model=model, classes=OLD, config_yaml="", **about)
    return folder, model


def _rows(network: nn.Module) -> tuple[Tensor, Tensor]:
    layer = network.get_submodule("head.classifier")
    return layer.weight.detach().flatten(1), layer.bias.detach()


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        ((SHEEP, BOAT, PLANE), "3 of 3 classes are taken over by name (sheep, boat, plane)"),
        ((COW, SHEEP, BOAT), "2 of 3 {}(sheep, boat); 1 start from initial values (cow); 1 are dropped (plane)"),
        ((PLANE, COW), "1 of 2 {}(plane); 1 start from initial values (cow); 2 are dropped (boat, sheep)"),
        ((COW,), "0 of 1 {}(none); 1 start from initial values (cow); 3 are dropped (boat, plane, sheep)"),
    ],
)
def test_a_row_goes_where_its_class_is(bundle: tuple[Path, ModelConfig], classes: tuple[str, ...], said: str) -> None:
    folder, model = bundle
    trained = torch.load(folder / "state_dict.pt", weights_only=True)
    torch.manual_seed(3)
    fresh, fresh_bias = _rows(model.build(classes))
    for location in (folder, folder / "state_dict.pt", folder.parent):
        torch.manual_seed(3)
        network = model.model_copy(update={"weights": str(location)}).build(classes)
        weight, bias = _rows(network)
        for row, name in enumerate(classes):
            old = OLD.index(name) if name in OLD else None
            expected = fresh[row] if old is None else trained["head.classifier.weight"][old].flatten()
            assert torch.equal(weight[row], expected)
            assert float(bias[row]) == (float(fresh_bias[row]) if old is None else old + 1)
        message = said.format("classes are taken over by name ")
        assert [f"{folder / 'state_dict.pt'}: {message}"] == list(network.notices)
        for name, value in trained.items():
            if "head.classifier" not in name:
                assert torch.equal(network.state_dict()[name], value), name


def test_rows_without_names_are_told_of(bundle: tuple[Path, ModelConfig], tmp_path: Path) -> None:
    folder, model = bundle
    shutil.copy(folder / "state_dict.pt", tmp_path / "alone.pt")
    alone = model.model_copy(update={"weights": str(tmp_path / "alone.pt")})
    same = alone.build((SHEEP, BOAT, COW))
    assert _rows(same)[1].tolist() == [1, 2, 3]
    (message,) = same.notices
    assert "does not name the classes of its 3 rows: they are assumed to be the data's (sheep, boat, cow)" in message
    (message,) = alone.build((SHEEP, BOAT)).notices
    assert "head.classifier is left at its start values: bias is (3,) there and (2,) here" in message


def test_a_description_of_another_file_is_not_believed(bundle: tuple[Path, ModelConfig], tmp_path: Path) -> None:
    folder, model = bundle
    shutil.copytree(folder, tmp_path / "model")
    described = json.loads((tmp_path / "model" / "model.json").read_text())
    changed = model.model_copy(update={"weights": str(tmp_path / "model")})
    for text, words in (
        (json.dumps(described | {"sha256": "0" * 64}), "SHA-256 differs"),
        (json.dumps(described | {"classes": ["boat", "plane"]}), "has 3 rows, but .* names 2 classes"),
        ("[]", "is not a model description"),
    ):
        (tmp_path / "model" / "model.json").write_text(text)
        with pytest.raises(WeightsError, match=words):
            changed.build(OLD)


@pytest.mark.parametrize("options", [{"head": "aspp", "hidden": 6}, {"head": "largefov", "hidden": None}])
def test_score_layers_of_segmentation_networks(options: dict[str, Any], tmp_path: Path) -> None:
    model = SegmentationModelConfig.model_validate({"name": "tiny", "weights": None, "stride": 4} | options)
    first = model.build(OLD)
    with torch.no_grad():
        for branch in first.head.branches:
            branch.get_submodule("classifier").bias.copy_(torch.arange(4.0))  # the background's row is the first
    save_segmenter(
        tmp_path / "model",
        first.state_dict(),
        model=model,
        classes=OLD,
        input=InputConfig(size=32),
        inference=SegmentInferenceConfig(),
        config_yaml="",
        info={},
    )
    again = model.model_copy(update={"weights": str(tmp_path / "model")})
    network = again.build((COW, SHEEP, PLANE))
    for old, new in zip(first.head.branches, network.head.branches, strict=True):
        theirs, ours = old.get_submodule("classifier"), new.get_submodule("classifier")
        assert ours.bias.tolist() == [0, 0, 3, 2]
        assert torch.equal(ours.weight[[0, 2, 3]], theirs.weight[[0, 3, 2]])
        assert not torch.equal(ours.weight[1], theirs.weight[1])
        if options["hidden"]:
            assert torch.equal(new.get_submodule("fc6").weight, old.get_submodule("fc6").weight)
    (message,) = network.notices
    assert (
        "2 of 3 classes are taken over by name (sheep, plane); 1 start from initial values (cow); 1 are dropped (boat)"
        in message
    )
    more = again.build((BOAT, COW, PLANE, SHEEP))
    assert more.head.branches[0].get_submodule("classifier").bias.tolist() == [0, 1, 0, 2, 3]
    shutil.copy(tmp_path / "model" / "state_dict.pt", tmp_path / "alone.pt")
    (message,) = model.model_copy(update={"weights": str(tmp_path / "alone.pt")}).build((COW, SHEEP, PLANE)).notices
    assert "does not name the classes of its 3 rows" in message


def test_vggs_own_head_goes_by_names(tmp_path: Path) -> None:
    model = ModelConfig.model_validate({"name": "vgg16", "weights": None, "head": "fc", "fc_width": 2})
    network = model.build(OLD)
    state = network.state_dict()
    torch.save(state, tmp_path / "state_dict.pt")
    described = {"classes": OLD, "sha256": sha256_of(tmp_path / "state_dict.pt")}
    (tmp_path / "model.json").write_text(json.dumps(described))
    again = model.model_copy(update={"weights": str(tmp_path)}).build((COW, SHEEP, BOAT))
    assert torch.equal(_rows(again)[0][1:], _rows(network)[0][[2, 0]])
    for name in ("fc6.weight", "fc7.bias"):
        assert torch.equal(again.state_dict()[f"head.{name}"], state[f"head.{name}"])


@pytest.mark.parametrize("recipe", ["scenes_gain", "scenes_icasc", "scenes_attnbn", "scenes_oaa"])
def test_every_methods_run_goes_by_names(recipe: str, tmp_path: Path) -> None:
    """What a run is made of gets the names of its data; nothing is given by hand here but the two orders."""
    small = ["data.count=4", "data.size=32", "input.size=32", "validation.split=null"]
    base = load_config(TrainConfig, recipe, small)
    assert base.model.weights is None
    names = base.data.build().classes[:4]
    network = base.model.build(names)
    save_bundle(
        tmp_path / "model",
        network.state_dict(),
        model=base.model,
        classes=names,
        input=base.input,
        map_kind="cam",
        layers=(),
        config_yaml="",
        info={},
    )
    turned = tuple(reversed(names))
    few = ["method.source.count=4", "method.source.size=32"]
    method = [*few, f"method.source.classes=[{', '.join(turned)}]"] if recipe == "scenes_attnbn" else []
    changes = [f"data.classes=[{', '.join(turned)}]", f"model.weights={tmp_path}/model", *method]
    config = load_config(TrainConfig, recipe, [*small, *changes])
    parts = build_components(config, rank=0, world=config.cluster.workers)
    assert torch.equal(_rows(parts.network)[0], _rows(network)[0].flip(0))
    assert "4 of 4 classes are taken over by name" in parts.network.notices[0]


def test_a_segmentation_run_goes_by_names(tmp_path: Path) -> None:
    names = ScenesConfig().classes[:3]
    changes = ["data.count=4", "data.size=32", "input.size=32", "validation.split=null", "labels={source: masks}"]
    base = load_config(SegmentConfig, "segment_scenes", changes)
    network = base.model.build(names)
    save_segmenter(
        tmp_path / "model",
        network.state_dict(),
        model=base.model,
        classes=names,
        input=base.input,
        inference=base.inference,
        config_yaml="",
        info={},
    )
    turned = [f"data.classes=[{', '.join(reversed(names))}]", f"model.weights={tmp_path}/model"]
    parts = build_components(load_config(SegmentConfig, "segment_scenes", [*changes, *turned]), rank=0, world=1)
    for old, new in zip(network.head.branches, parts.network.head.branches, strict=True):
        weight = old.get_submodule("classifier").weight
        assert torch.equal(new.get_submodule("classifier").weight, weight[[0, 3, 2, 1]])
