"""Maps that presume features after ReLU are refused on layers without it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from attn.errors import ConfigError
from attn.runs.recipes import load_config
from attn.training.classifier import build_components
from attn.training.train_config import TrainConfig
from tests.models.thin_timm import THIN

SMALL = ["data.count=4", "data.size=48", "input.size=48", "validation.split=null", "training.batch_size=2"]
NETWORK = ["model.widths=null", "model.stride=null", "model.weights=null"]
SIGNED = "timm/test_vit"


def _config(name: str, *overrides: str) -> TrainConfig:
    return load_config(TrainConfig, "scenes_grad_cam", [*SMALL, *NETWORK, f"model.name={name}", *overrides])


@pytest.mark.parametrize("method", ["icasc", "gain"])
def test_maps_of_positive_weights_need_features_after_relu(method: str) -> None:
    """A transformer has none; the message says how many are negative, and what to choose."""
    assert SIGNED in THIN
    chosen = [f"method.name={method}", "method.map_kind=channel"]
    with pytest.raises(ConfigError, match=r"map_kind=channel needs features after ReLU, and \d+% .* at layer '\w+'"):
        build_components(_config(SIGNED, *chosen), rank=0, world=1)


@pytest.mark.parametrize(("name", "kind"), [(SIGNED, "pixel"), (SIGNED, "grad_cam"), ("mobilenet_v2", "channel")])
def test_other_maps_and_rectified_layers_are_taken_as_before(name: str, kind: str) -> None:
    """The check changes neither the network nor the random numbers of what follows."""
    config = _config(name, "method.name=icasc", f"method.map_kind={kind}")

    def built() -> tuple[dict[str, Any], torch.Tensor]:
        components = build_components(config, rank=0, world=1)
        assert all(module.training for module in components.network.modules())
        return components.network.state_dict(), torch.rand(3)

    torch.manual_seed(config.seed)
    plain = config.model.build(len(config.data.build().classes), ("inner",)).state_dict()
    following = torch.rand(3)
    state, drawn = built()
    assert all(torch.equal(value, plain[key]) for key, value in state.items())
    assert torch.equal(drawn, following)
