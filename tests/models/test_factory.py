"""A network that a function of the user's makes: only one that is allowed is called, and only a usable one is taken."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from attn.data.transforms import InputConfig
from attn.errors import WeightsError
from attn.maps import attention
from attn.models import ModelConfig
from attn.models.bundle import load_bundle, save_bundle
from attn.models.factory import FACTORIES, factory_architecture
from attn.segmentation.networks import SegmentationModelConfig
from services.permissions import Permissions

SOURCE = """
from torch import nn

def stage(before, width, stride):
    return nn.Sequential(nn.Conv2d(before, width, 3, stride=stride, padding=1), nn.ReLU())

def network():
    return nn.Sequential(stage(3, 4, 4), stage(4, 8, 2))

def linear():
    return nn.Linear(2, 2)

def one():
    return nn.Sequential(stage(3, 4, 4))

def flat():
    return nn.Sequential(nn.Flatten(), nn.Identity())

def wrong():
    return nn.Sequential(stage(3, 4, 4), stage(5, 8, 2))

def fails():
    raise OSError("no such file")
"""
NAMES = ("network", "linear", "one", "flat", "wrong", "fails", "absent")


@pytest.fixture(autouse=True)
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "mine_of_the_test.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv(FACTORIES, ", ".join(f"mine_of_the_test:{name}" for name in NAMES))
    yield
    factory_architecture.cache_clear()


def _model(function: str = "network", **settings: Any) -> ModelConfig:
    return ModelConfig.model_validate({"factory": f"mine_of_the_test:{function}", "weights": None} | settings)


def test_it_has_layers_a_stride_and_maps() -> None:
    model = _model(name="mobilenet_v2")  # of a recipe
    assert model.output_stride == 8
    network = model.build(3, ("inner",)).eval()
    assert network.layers == ("stage1", "stage2", "inner", "last")
    output = network(torch.randn(1, 3, 64, 96))
    assert (output.features["inner"].shape, output.features["last"].shape) == ((1, 4, 16, 24), (1, 8, 8, 12))
    assert attention(output, torch.tensor([[0, 1]]), kind="grad_cam", layer="inner").shape == (1, 16, 24)
    segmenter = SegmentationModelConfig(factory=model.factory, weights=None, hidden=4).build(2)
    assert segmenter(torch.randn(2, 3, 64, 64)).logits.shape == (2, 3, 8, 8)


def test_its_own_weights_and_a_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = _model().build(3).eval()
    torch.save(dict(network.backbone.net.state_dict()), tmp_path / "own.pth")  # pyright: ignore
    again = _model(weights=str(tmp_path / "own.pth")).build(3)
    loaded = again.backbone.state_dict()
    assert all(torch.equal(value, loaded[key]) for key, value in network.backbone.state_dict().items())
    save_bundle(
        tmp_path / "model", network.state_dict(), model=_model(), classes=("a", "b", "c"), input=InputConfig(size=64),
        map_kind="grad_cam", layers=(), config_yaml="", info={},
    )  # fmt: skip
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(load_bundle(tmp_path / "model").network(images).logits, network(images).logits)
    monkeypatch.delenv(FACTORIES)
    factory_architecture.cache_clear()
    with pytest.raises(WeightsError, match=f"export {FACTORIES}=mine_of_the_test:network"):
        load_bundle(tmp_path / "model")


@pytest.mark.parametrize(
    ("function", "text"),
    [
        ("linear", "returned Linear; expected a torch.nn.Sequential"),
        ("one", "returned Sequential; expected .* at least 2 stages"),
        ("flat", r"gives features \(1, 150528\); expected \(B, K, h, w\)"),
        ("wrong", "cannot compute features of an image of 224 pixels"),
        ("fails", r"fails \(OSError: no such file\)"),
        ("absent", "cannot be imported"),
    ],
)
def test_what_is_no_network_is_refused(function: str, text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        _model(function)


def test_fields_that_it_cannot_have() -> None:
    with pytest.raises(ValidationError, match="cannot have stride=16: set stride to 8"):
        _model(stride=16)
    with pytest.raises(ValidationError, match="there are no imagenet weights"):
        _model(weights="imagenet")


def test_a_client_of_the_service_cannot_name_one(tmp_path: Path) -> None:
    (objection,) = Permissions(str(tmp_path)).submitted(_model())
    assert objection == (("factory",), "cannot be set by a client", "leave it out")
