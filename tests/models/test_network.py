"""The network: strides, heads, layers, modes, and what configurations are refused."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torchvision
from pydantic import ValidationError
from torch import nn

from attn.errors import ConfigError
from attn.maps import attention
from attn.models import ModelConfig, Network, architecture, architectures, register
from tests.models.thin import thin_network

SMALL: dict[str, Any] = {"weights": None, "fc_width": 16, "head_width": 16}


def _network(name: str = "tiny", layers: tuple[str, ...] = (), classes: int = 3, **settings: Any) -> Network:
    torch.manual_seed(0)
    return ModelConfig.model_validate(SMALL | {"name": name} | settings).build(classes, layers)


def _thin(name: str, layers: tuple[str, ...] = (), **settings: Any) -> Network:
    torch.manual_seed(0)
    config = ModelConfig.model_validate({"weights": None, "fc_width": 128, "head_width": 128, "name": name} | settings)
    return thin_network(config, 3, layers)


CASES = [(name, stride) for name in architectures() for stride in architecture(name).strides]


@pytest.mark.parametrize(("name", "stride"), CASES)
def test_last_layer_has_the_stride_asked_for(name: str, stride: int) -> None:
    network = _thin(name, ("inner",), stride=stride).eval()
    with torch.no_grad():
        output = network(torch.zeros(1, 3, 96, 64))
    # SqueezeNet's first convolution has no padding: its grid may be one short.
    height, width = output.features["last"].shape[2:]
    assert 0 <= 96 // stride - height <= (name == "squeezenet1_1")
    assert 0 <= 64 // stride - width <= (name == "squeezenet1_1")
    assert height <= output.features["inner"].shape[2] <= 2 * height + 1
    assert output.logits.shape == (1, 3)
    assert network.config.output_stride == stride


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "mobilenet_v2"])
@pytest.mark.parametrize("size", [64, 81])
def test_a_dilated_network_computes_the_strided_one_on_a_finer_grid(name: str, size: int) -> None:
    images = torch.randn(1, 3, size, size, dtype=torch.float64)
    outputs = {}
    for stride in (32, 16, 8):
        network = _thin(name, stride=stride).eval().double()
        with torch.no_grad():
            outputs[stride] = network(images).features["last"]
    for stride in (16, 8):
        every = 32 // stride
        torch.testing.assert_close(outputs[stride][:, :, ::every, ::every], outputs[32], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", architectures())
def test_every_layer_can_be_exposed_and_is_in_the_scores_graph(name: str) -> None:
    layers = _thin(name).layers
    network = _thin(name, layers).eval()
    output = network(torch.randn(1, 3, 64, 64))
    assert set(output.features) == set(layers)
    gradients = torch.autograd.grad(output.logits.sum(), list(output.features.values()))
    assert all(float(gradient.abs().sum()) > 0 for gradient in gradients)
    assert output.features["inner"] is output.features[network.backbone.inner]


@pytest.mark.parametrize("name", architectures())
def test_every_layer_is_rectified(name: str) -> None:
    """ICASC's maps presume it (eq. 3-4)."""
    network = _thin(name, _thin(name).layers).eval()
    with torch.no_grad():
        features = network(torch.randn(1, 3, 64, 64)).features
    assert all(float(values.min()) >= 0 for values in features.values())
    assert float(features["inner"].max()) > 0


@pytest.mark.parametrize(("stages", "blocks"), [(1, 2), (2, 4), (3, 7), (4, 14), (5, 19)])
def test_frozen_stages_of_mobilenet_are_whole_blocks(stages: int, blocks: int) -> None:
    """Layers of maps end within a block; a block is frozen as a whole, so that optimisers' states of runs fit."""
    network = _network("mobilenet_v2", freeze_stages=stages)
    frozen = {name for name, parameter in network.named_parameters() if not parameter.requires_grad}
    expected = torchvision.models.mobilenet_v2(weights=None).features[:blocks]
    assert frozen == {f"backbone.features.{name}" for name, _ in expected.named_parameters()}


def test_unknown_layers_and_too_many_frozen_stages_are_named() -> None:
    with pytest.raises(ConfigError, match="tiny has no layer 'layer4'; it has stage1, stage2"):
        _network(layers=("layer4",))
    with pytest.raises(ConfigError, match="has 4 stages: stage1"):
        _network(freeze_stages=5)
    with pytest.raises(ConfigError, match="at least one class"):
        _network(classes=0)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"name": "vgg"}, "there is no architecture 'vgg': did you mean vgg16 or vgg19\\? There are mobilenet_v2"),
        ({"name": "none of them"}, "there is no architecture 'none of them'; there are mobilenet_v2"),
        ({"name": "vgg16", "stride": 32}, "set stride to 16 or 8"),
        ({"name": "resnet18", "head": "fc"}, "set head to gap or conv"),
        ({"name": "tiny", "weights": "imagenet"}, "set weights=null"),
        ({"name": "resnet18", "widths": (8, 8)}, "set widths=null, or name=tiny"),
        ({"name": "tiny", "widths": (8, 8), "stride": 8}, "give more widths"),
        ({"name": "tiny", "head_convolutions": 3}, "needs head=conv"),
        ({"name": "vgg16", "head": "fc", "weights": "imagenet"}, "fc_width=4096"),
    ],
    ids=str,
)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        ModelConfig.model_validate(SMALL | settings)


def test_a_name_is_registered_once() -> None:
    with pytest.raises(ValueError, match="already registered"):
        register("tiny", architecture("tiny"))
    assert architectures("resnet??") == ["resnet18", "resnet34", "resnet50"]


@pytest.mark.parametrize("name", ["tiny", "vgg16", "mobilenet_v2"])
def test_the_seed_decides_the_start(name: str) -> None:
    first, second = _network(name).state_dict(), _network(name).state_dict()
    assert all(torch.equal(value, second[key]) for key, value in first.items())


@pytest.mark.parametrize(("name", "head"), [("tiny", "gap"), ("resnet18", "conv"), ("vgg16", "fc")])
def test_new_layers_are_told_from_pretrained_ones(name: str, head: str) -> None:
    network = _network(name, head=head, head_convolutions=2 if head == "conv" else 0)
    new = {key for key, _ in network.named_parameters() if network.is_head(key)}
    expected = {"head.classifier.weight", "head.classifier.bias"}
    if head == "conv":
        expected |= {f"head.convolutions.conv{number}.{kind}" for number in (1, 2) for kind in ("weight", "bias")}
    assert new == expected
    assert network.is_head("module.head.classifier.weight")
    for key in new:
        value = network.state_dict()[key]
        assert (value.std() < 0.02) if key.endswith("weight") else bool((value == 0).all())


def test_update_statistics_false_normalises_by_the_batch_and_changes_nothing() -> None:
    network, images = _network(), torch.randn(4, 3, 32, 32)
    before = copy.deepcopy(network.state_dict())
    kept = network(images, update_statistics=False).logits
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert torch.equal(kept, network(images).logits)
    assert any(not torch.equal(value, before[key]) for key, value in network.state_dict().items())
    network.eval()
    assert torch.equal(network(images, update_statistics=False).logits, network(images).logits)


def test_frozen_statistics_stay_frozen_in_training_mode() -> None:
    network, images = _network(batch_norm="frozen"), torch.randn(4, 3, 32, 32)
    before = copy.deepcopy(network.state_dict())
    network.train()
    trained = network(images).logits
    assert network.training
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert torch.equal(trained, network.eval()(images).logits)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert all(norm.weight.requires_grad for norm in norms)
    fixed = _network(batch_norm="frozen", batch_norm_affine=False)
    assert not any(p.requires_grad for m in fixed.modules() if isinstance(m, nn.BatchNorm2d) for p in m.parameters())


@pytest.mark.parametrize("name", ["tiny", "resnet18", "vgg16"])
def test_frozen_stages_get_no_gradient_and_keep_their_statistics(name: str) -> None:
    network, images = _thin(name, freeze_stages=2), torch.randn(2, 3, 64, 64)
    frozen = [module for stage in list(network.backbone.stages().values())[:2] for module in stage]
    before = [value.clone() for module in frozen for value in module.state_dict().values()]
    network.train()(images).logits.sum().backward()
    assert all(p.grad is None for module in frozen for p in module.parameters())
    assert all(p.grad is not None for p in network.parameters() if p.requires_grad)
    after = [value for module in frozen for value in module.state_dict().values()]
    assert all(torch.equal(a, b) for a, b in zip(after, before, strict=True))


def test_a_network_without_trainable_parameters_still_gives_maps() -> None:
    network, pairs = _thin("vgg16", ("inner",), head="fc").eval(), torch.tensor([[0, 1]])
    images = torch.randn(1, 3, 64, 64)
    expected = attention(network(images), pairs, kind="grad_cam", layer="inner")
    output = network.requires_grad_(False)(images)
    torch.testing.assert_close(attention(output, pairs, kind="grad_cam", layer="inner"), expected)
    assert all(p.grad is None for p in network.parameters())
    with torch.no_grad():
        assert not network(images).features["last"].requires_grad
    with torch.inference_mode():
        assert network(images).logits.shape == (1, 3)


def test_copies_and_state_dicts_are_whole() -> None:
    network, images = _network("squeezenet1_1").eval(), torch.randn(1, 3, 64, 64)
    twin = copy.deepcopy(network)
    network.backbone.features[0].weight.data.zero_()
    assert not torch.equal(twin(images).logits, network(images).logits)
    network.load_state_dict(twin.state_dict())
    assert torch.equal(twin(images).logits, network(images).logits)
