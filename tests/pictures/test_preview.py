"""Previews of a network while it trains."""

from __future__ import annotations

import numpy as np
import torch

from attn.data.dataset import AttentionDataset
from attn.data.sources.generated import ScenesConfig
from attn.data.transforms import InputConfig
from attn.methods.gain import GainConfig
from attn.methods.icasc import IcascConfig
from attn.models.network import ModelConfig
from attn.pictures.preview import Preview


def test_previews_show_the_layer_that_the_method_trains() -> None:
    torch.manual_seed(0)
    source = ScenesConfig(count=2, size=48).build()
    dataset = AttentionDataset(source, InputConfig(size=48), train=False)
    network = ModelConfig(name="tiny", weights=None).build(len(source.classes), layers=("inner",))
    drawn = {}
    for layer in ("last", "inner"):
        ((_, drawn[layer]),) = Preview(dataset, network, GainConfig(layer=layer).build(), 1).draw()
    assert not np.array_equal(drawn["last"].pixels, drawn["inner"].pixels)


def test_a_method_may_draw_its_own_pictures() -> None:
    """ICASC's: two rows of maps; an image of all classes has no confusing one and is shown alone."""
    torch.manual_seed(0)
    for classes, larger in ((("boat", "car", "cat"), True), (("boat",), False)):
        source = ScenesConfig(count=2, size=48, classes=classes).build()
        dataset = AttentionDataset(source, InputConfig(size=48), train=False)
        network = ModelConfig(name="tiny", weights=None).build(len(classes), layers=("inner",))
        modes = [module.training for module in network.modules()]
        drawn = dict(Preview(dataset, network, IcascConfig().build(), 1).draw())
        assert list(drawn) == ["train-000000"]
        assert (drawn["train-000000"].pixels.shape[0] > 300) == larger
        assert [module.training for module in network.modules()] == modes
        assert all(parameter.grad is None for parameter in network.parameters())
