"""Networks of shapes alone are made without what is not needed for that."""

from __future__ import annotations

import sys

import pytest

from attn.models.map_size import MapSize
from attn.models.network import ModelConfig
from attn.models.shapes import shapes_only


@pytest.mark.parametrize("name", ["tiny", "resnet18", "mobilenet_v2", "vgg16", "squeezenet1_1"])
def test_a_network_of_shapes_does_without_the_compiler(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch._dynamo", None)  # its import, which takes seconds, would raise
    model = ModelConfig.model_validate({"name": name, "weights": None})
    expected = model.build(2).state_dict()
    with shapes_only():
        found = model.build(2).state_dict()
    assert {key: value.shape for key, value in found.items()} == {key: value.shape for key, value in expected.items()}
    assert all(value.is_meta for value in found.values())
    assert min(MapSize(model)((64, 64))) > 0
