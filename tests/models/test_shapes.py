"""Networks of shapes alone are made without what is not needed for that."""

from __future__ import annotations

import sys

import pytest
import torch

from attn.models.map_size import MapSize
from attn.models.network import ModelConfig
from attn.models.shapes import shapes_only


def test_a_network_of_shapes_does_without_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch._dynamo", None)  # its import, which takes seconds, would raise
    model = ModelConfig.model_validate({"name": "tiny", "weights": None})
    with shapes_only():
        model.build(2)
    assert MapSize(model)((64, 64)) == (8, 8)


@pytest.mark.parametrize("name", ["tiny", "resnet18", "mobilenet_v2", "vgg16_bn", "squeezenet1_1"])
def test_shapes_are_those_of_the_network(name: str) -> None:
    model = ModelConfig.model_validate({"name": name, "weights": None})
    network = model.build(2).eval()
    with shapes_only():
        result = model.build(2).state_dict()
    assert {key: value.shape for key, value in result.items()} == {
        key: value.shape for key, value in network.state_dict().items()
    }
    assert all(value.is_meta for value in result.values())
    assert MapSize(model)((70, 52)) == network(torch.rand(1, 3, 70, 52)).features["last"].shape[2:]
