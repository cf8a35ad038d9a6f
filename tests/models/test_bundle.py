"""Trained models on disk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from attn.data.transforms import InputConfig
from attn.models.bundle import load_bundle, save_bundle
from attn.models.network import ModelConfig


@pytest.mark.parametrize("layer", ["last", "inner"])
def test_a_bundle_knows_the_layer_that_was_trained(tmp_path: Path, layer: str) -> None:
    model = ModelConfig(name="tiny", weights=None)
    save_bundle(
        tmp_path,
        model.build(2).state_dict(),
        model=model,
        classes=("a", "b"),
        input=InputConfig(size=32),
        map_kind="grad_cam",
        layers=(),
        config_yaml="",
        info={},
        layer=layer,
    )
    bundle = load_bundle(tmp_path)
    assert bundle.layer == layer
    with torch.no_grad():
        assert layer in bundle.network(torch.zeros(1, 3, 32, 32)).features
    description = json.loads((tmp_path / "model.json").read_text())
    del description["layer"]
    (tmp_path / "model.json").write_text(json.dumps(description))
    assert load_bundle(tmp_path).layer == "last", "models from before the field"
