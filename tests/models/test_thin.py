"""Thinned networks are the architectures': the same parameters by name, and only their channels are fewer."""

from __future__ import annotations

import pytest
import torch

from attn.models import ModelConfig, Network, architecture, architectures
from tests.models.thin import FACTOR, NARROW, thin_network


@pytest.mark.parametrize(
    ("name", "head"), [(name, head) for name in architectures() for head in architecture(name).heads]
)
def test_has_the_same_layers(name: str, head: str) -> None:
    settings = {"name": name, "head": head, "weights": None, "fc_width": 128, "head_width": 128, "freeze_stages": 1}
    config = ModelConfig.model_validate(settings | {"head_convolutions": int(head == "conv")})
    with torch.device("meta"):
        whole = Network(config, 3)
    thin = thin_network(config, 3)
    for (key, one), (other_key, other) in zip(whole.named_parameters(), thin.named_parameters(), strict=True):
        assert (key, one.ndim, one.shape[2:], one.requires_grad) == (
            other_key, other.ndim, other.shape[2:], other.requires_grad,
        )  # fmt: skip
        channels = [(whole, thin) for whole, thin in zip(one.shape[:2], other.shape[:2], strict=True) if whole > 3]
        assert all(few * (1 if name in NARROW else FACTOR) == many or few == many == 1 for many, few in channels), key
    assert [type(module) for module in whole.modules()] == [type(module) for module in thin.modules()]
    assert [module.training for module in whole.modules()] == [module.training for module in thin.modules()]
