"""OAA's classifier: loss and maps against NumPy in double precision, and the paper's network and learning rates."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from attn.data.sample import Batch
from attn.errors import ConfigError
from attn.methods import MethodConfig, Progress
from attn.models import ModelConfig, Network
from attn.runs.recipes import load_config
from attn.training.optimizer import build_optimizer
from attn.training.train_config import TrainConfig


@pytest.fixture(scope="module")
def paper() -> TrainConfig:
    return load_config(TrainConfig, "oaa_voc_paper", ["model.weights=null"])


@pytest.fixture(scope="module")
def network(paper: TrainConfig) -> Network:
    torch.manual_seed(0)
    return paper.model.build(20)


def test_loss_and_maps_are_those_of_equations_1_and_2() -> None:
    torch.manual_seed(1)
    settings = {"name": "tiny", "weights": None, "widths": (4, 6), "stride": 4, "head": "conv", "head_convolutions": 2}
    network = ModelConfig.model_validate(settings | {"head_width": 5}).build(3).double()
    network.head.classifier.weight.data *= 50
    labels = torch.tensor([[1, 0, 1], [0, 0, 0], [0, 1, 0]], dtype=torch.float64)
    none = torch.zeros((0, 2), dtype=torch.int64)
    images = torch.randn(3, 3, 16, 20, dtype=torch.float64)
    batch = Batch((0, 1, 2), (), images, labels, (), none, images.new_zeros((0, 16, 20)))
    method = MethodConfig.members["oaa"].model_validate({"name": "oaa"}).build()
    output = method.step(network, batch, Progress(0, 0, 0.0, maps=True))
    result = output.maps
    assert result is not None

    features = network(images).features["last"].detach().numpy()
    weight, bias = (network.head.classifier.get_parameter(name).detach().numpy() for name in ("weight", "bias"))
    class_maps = np.einsum("ck,bkhw->bchw", weight[:, :, 0, 0], features) + bias[:, None, None]
    probabilities = 1 / (1 + np.exp(-class_maps.mean(axis=(2, 3))))  # eq. 1
    target = labels.numpy()
    expected = -(target * np.log(probabilities) + (1 - target) * np.log(1 - probabilities)).mean()
    assert output.losses["loss"].item() == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(result.logits.sigmoid().numpy(), probabilities, rtol=1e-12)
    present = [(0, 0), (0, 2), (2, 1)]
    np.testing.assert_allclose(
        result.maps.numpy(),
        np.stack([np.maximum(class_maps[pair], 0) for pair in present]),
        rtol=1e-10,
        atol=1e-14,
    )


def test_the_papers_network(network: Network) -> None:
    """Pool4 3×3 with stride 1, no fifth pooling, conv5 dilated by 2; three 3×3 convolutions of 512, one of 1×1."""
    pools = [module for module in network.backbone.modules() if isinstance(module, nn.MaxPool2d)]
    assert [(pool.kernel_size, pool.stride) for pool in pools] == [(2, 2)] * 3 + [(3, 1)]
    convolutions = [module for module in network.backbone.modules() if isinstance(module, nn.Conv2d)]
    assert [conv.dilation for conv in convolutions] == [(1, 1)] * 10 + [(2, 2)] * 3
    added = [module for module in network.head.modules() if isinstance(module, nn.Conv2d)]
    assert [(conv.kernel_size[0], conv.out_channels) for conv in added] == [(3, 512)] * 3 + [(1, 20)]
    assert not any(isinstance(module, nn.Dropout) for module in network.modules())
    for conv in added:
        assert conv.weight.std().item() == pytest.approx(0.01, rel=0.02)
        assert conv.bias is not None
        assert not conv.bias.any()
    with torch.no_grad():
        maps = network.eval()(torch.zeros(1, 3, 224, 299)).class_maps
    assert maps is not None
    assert maps.shape == (1, 20, 28, 37)  # of a photograph of 500×375


def test_the_papers_learning_rates(network: Network, paper: TrainConfig) -> None:
    groups = {group["name"]: group for group in build_optimizer(network, paper.optimizer).param_groups}
    rates = {name: group["base_lr"] for name, group in groups.items()}
    assert rates == pytest.approx(
        {"backbone_weight": 1e-3, "backbone_bias": 2e-3, "head_weight": 1e-2, "head_bias": 2e-2}
    )
    # Biases decay too in the published code.
    assert {name: group["weight_decay"] for name, group in groups.items()} == dict.fromkeys(groups, 5e-4)
    assert len(groups["head_weight"]["params"]) == len(groups["head_bias"]["params"]) == 4
    factors = [paper.schedule.factor(share) for share in (0.0, 0.66, 0.67, 0.99)]
    assert factors == pytest.approx([1, 1, 0.1, 0.1])


def test_what_cannot_accumulate_is_refused_before_anything_starts() -> None:
    for overrides, words in (
        (["store.start_epoch=16"], r"store\.start_epoch=16 leaves none of training\.epochs=16"),
        (["store.grid=[0,7]"], "store.grid"),
        (["store.gate=loose"], "strict"),
        (["model.head=gap", "model.head_convolutions=0"], "class-aware"),
    ):
        with pytest.raises(ConfigError, match=words):
            load_config(TrainConfig, "scenes_oaa", overrides)
