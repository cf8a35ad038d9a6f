"""Segmentation networks: sizes, weights, groups of the optimiser; heads against their definition."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional

from attn.errors import ConfigError, WeightsError
from attn.models import ModelConfig
from attn.segmentation import networks
from attn.segmentation.networks import SegmentationModelConfig, SegmentationNetwork
from attn.training.optimizer import Multipliers, OptimizerConfig, build_optimizer


def _config(**options: object) -> SegmentationModelConfig:
    return SegmentationModelConfig(**({"name": "tiny", "weights": None, "hidden": 8} | options))


@pytest.mark.parametrize(
    ("name", "stride", "size", "grid"),
    [
        ("vgg16", 8, 65, 9),  # 8n + 1 gives n + 1, as 321 gives 41
        ("resnet18", 8, 65, 9),
        ("mobilenet_v2", 8, 65, 9),
        ("squeezenet1_1", 8, 65, 8),
        ("tiny", 4, 32, 8),
    ],
)
def test_grid(name: str, stride: int, size: int, grid: int) -> None:
    network = _config(name=name, stride=stride, hidden=4).build(3)
    assert network.grid((size, size)) == (grid, grid)
    assert network.training
    network.eval()
    with torch.no_grad():
        assert network(torch.zeros(2, 3, size, size)).logits.shape == (2, 4, grid, grid)


@pytest.mark.parametrize("head", ["largefov", "aspp"])
@pytest.mark.parametrize("hidden", [None, 6])
def test_heads_are_sums_of_dilated_branches(head: str, hidden: int | None) -> None:
    torch.manual_seed(0)
    network = _config(head=head, hidden=hidden, widths=(4, 5, 6), stride=4).build(2).eval()
    dilations = {"largefov": (12,), "aspp": (6, 12, 18, 24)}[head]
    features = torch.randn(1, 6, 20, 30)
    total: Tensor | int = 0
    for branch, rate in zip(network.head.branches, dilations, strict=True):
        layers = dict(branch.named_children())

        def dilated(x: Tensor, layer: nn.Module, rate: int = rate) -> Tensor:
            return functional.conv2d(x, layer.weight, layer.bias, padding=rate, dilation=rate)

        if hidden is None:
            total = total + dilated(features, layers["classifier"])
            continue
        x = dilated(features, layers["fc6"]).relu()
        x = functional.conv2d(x, layers["fc7"].weight, layers["fc7"].bias).relu()
        total = total + functional.conv2d(x, layers["classifier"].weight, layers["classifier"].bias)
    assert isinstance(total, Tensor)
    torch.testing.assert_close(network.head(features), total)


def test_optimiser_groups_follow_what_starts_untrained() -> None:
    config = OptimizerConfig(
        lr=1, multipliers=Multipliers(backbone_weight=1, backbone_bias=2, head_weight=10, head_bias=20)
    )

    def rates(network: SegmentationNetwork) -> dict[str, float]:
        names = {id(parameter): name for name, parameter in network.named_parameters()}
        groups = build_optimizer(network, config).param_groups
        return {names[id(parameter)]: group["lr"] for group in groups for parameter in group["params"]}

    vgg = rates(_config(name="vgg16", hidden=4).build(3))
    assert vgg["head.branches.0.classifier.weight"] == 10
    assert vgg["head.branches.0.classifier.bias"] == 20
    assert vgg["head.branches.0.fc6.weight"] == 1
    assert vgg["head.branches.0.fc7.bias"] == 2
    assert vgg["backbone.features.0.weight"] == 1
    other = rates(_config(name="tiny").build(3))
    assert other["head.branches.0.fc6.weight"] == 10
    assert other["head.branches.0.classifier.bias"] == 20


def test_a_classifiers_backbone_is_taken_over(tmp_path: Path) -> None:
    torch.manual_seed(0)
    classifier = ModelConfig(name="tiny", weights=None, stride=4).build(3)
    torch.save(classifier.state_dict(), tmp_path / "state_dict.pt")
    network = _config(weights=str(tmp_path / "state_dict.pt"), stride=4).build(3)
    for name, value in classifier.backbone.state_dict().items():
        torch.testing.assert_close(network.backbone.state_dict()[name], value)


def test_its_own_kind_is_taken_over_whole(tmp_path: Path) -> None:
    torch.manual_seed(0)
    first = _config(head="aspp").build(3)
    torch.save(first.state_dict(), tmp_path / "a.pt")
    second = _config(head="aspp", weights=str(tmp_path / "a.pt")).build(3)
    for name, value in first.state_dict().items():
        torch.testing.assert_close(second.state_dict()[name], value)
    with pytest.raises(WeightsError, match="does not fit"):
        _config(name="resnet18", weights=str(tmp_path / "a.pt")).build(3)


def test_vgg_head_starts_from_every_nth_channel_of_fc6_and_fc7(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "FC_WIDTH", 64)  # of 4096: a hundred megabytes less
    state = {
        f"features.{name}": value
        for name, value in _config(name="vgg16", hidden=4).build(1).backbone.features.state_dict().items()
    }
    weight = torch.zeros(64, 512, 7, 7)
    weight[:, 3] = torch.arange(49.0).reshape(7, 7)
    weight[:, 4] = torch.arange(64.0)[:, None, None]
    state |= {"classifier.0.weight": weight.flatten(1), "classifier.0.bias": torch.arange(64.0)}
    state |= {
        "classifier.3.weight": torch.arange(64.0).expand(64, 64),
        "classifier.3.bias": torch.arange(64.0) + 1,
    }
    state |= {"classifier.6.weight": torch.zeros(1000, 64), "classifier.6.bias": torch.zeros(1000)}
    torch.save(state, tmp_path / "vgg.pt")
    network = _config(name="vgg16", hidden=16, head="aspp", weights=str(tmp_path / "vgg.pt")).build(3)
    for branch in network.head.branches:
        fc6, fc7 = branch.get_submodule("fc6"), branch.get_submodule("fc7")
        assert fc6.weight[0, 3].tolist() == [[0, 3, 6], [21, 24, 27], [42, 45, 48]]
        assert fc6.weight[:, 4, 0, 0].tolist() == fc6.bias.tolist() == list(range(0, 64, 4))
        assert fc7.weight[5, :, 0, 0].tolist() == list(range(0, 64, 4))
        assert fc7.bias.tolist() == [value + 1 for value in range(0, 64, 4)]


def test_frozen_parts_and_statistics_stay() -> None:
    network = _config(name="resnet18", batch_norm="frozen", batch_norm_affine=False, freeze_stages=1).build(2)
    assert not any(part.training for part in network.modules() if isinstance(part, nn.BatchNorm2d))
    trained = [name for name, parameter in network.named_parameters() if parameter.requires_grad]
    assert not any("bn" in name or name.startswith("backbone.conv1") for name in trained)
    tracked = _config(batch_norm="train").build(2)
    before = {name: value.clone() for name, value in tracked.named_buffers()}
    tracked(torch.randn(2, 3, 32, 32), update_statistics=False)
    assert all(torch.equal(before[name], value) for name, value in tracked.named_buffers())
    tracked(torch.randn(2, 3, 32, 32))
    assert not all(torch.equal(before[name], value) for name, value in tracked.named_buffers())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "nonsense"}, "no architecture"),
        ({"name": "vgg16", "stride": 32}, "cannot have stride=32: set stride to 16 or 8"),
        ({"weights": "imagenet"}, "no imagenet weights for tiny"),
        ({"name": "vgg16", "weights": "imagenet", "hidden": 1000}, "hidden=1000 cannot start from fc6"),
        ({"name": "resnet18", "widths": (3, 4)}, "fixed widths"),
        ({"widths": (3, 4)}, "cannot reach stride 8"),
        ({"dilations": ()}, "at least 1"),
    ],
)
def test_what_cannot_be_built_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        _config(**options)


def test_too_many_frozen_stages() -> None:
    with pytest.raises(ConfigError, match="has 4 stages"):
        _config(freeze_stages=9).build(2)
