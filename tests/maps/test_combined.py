"""Maps of sums of scores at several layers: the single-class maps, the paper's equations, and the graph they leave."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from attn.errors import ConfigError
from attn.maps import GradientMapKind, attention, combined_attention
from attn.models import ModelConfig, Network
from attn.models.output import Output

KINDS: list[GradientMapKind] = ["grad_cam", "channel", "pixel"]


def _network(**settings: Any) -> Network:
    torch.manual_seed(0)
    small = {"name": "tiny", "weights": None, "widths": (4, 6, 8), "batch_norm": "frozen", "fc_width": 16}
    return ModelConfig.model_validate(small | settings).build(3, ("inner",)).double()


def _output(**settings: Any) -> Output:
    network = _network(**settings)
    torch.manual_seed(1)
    return network(torch.randn(3, 3, 32, 40, dtype=torch.float64))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("head", ["gap", "conv"])
def test_a_sum_of_one_class_gives_its_map(kind: GradientMapKind, closed: bool, head: str) -> None:
    output = _output(head=head)
    output = output if closed else output._replace(linear_weight=None)
    classes = torch.tensor([[0, 2, 1], [1, 1, 0]])
    result = combined_attention(output, torch.eye(3)[classes], kind=kind, layers=("inner", "last"))
    for layer, maps in result.items():
        for row, chosen in enumerate(classes):
            pairs = torch.stack([torch.arange(3), chosen], dim=1)
            expected = attention(output._replace(class_maps=None), pairs, kind=kind, layer=layer)
            torch.testing.assert_close(maps[row], expected, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("closed", [True, False])
def test_a_sum_of_several_follows_the_equations(kind: GradientMapKind, closed: bool) -> None:
    output = _output()
    sums = torch.tensor([[[1.0, 0, 1], [1, 1, 1], [0, 0, 0]]], dtype=torch.float64)
    given = output if closed else output._replace(linear_weight=None)
    maps = combined_attention(given, sums, kind=kind, layers=("last", "inner"))
    for layer in ("inner", "last"):
        for image in range(3):
            score = (output.logits[image] * sums[0, image]).sum()
            (gradient,) = torch.autograd.grad(score, output.features[layer], retain_graph=True)
            f, g = output.features[layer][image], gradient[image]
            if kind == "pixel":
                expected = (g * f).mean(dim=0).clamp(min=0)
            else:
                g = g.clamp(min=0) if kind == "channel" else g
                expected = (g.mean(dim=(1, 2))[:, None, None] * f).sum(dim=0).clamp(min=0)
            torch.testing.assert_close(maps[layer][0, image], expected, rtol=1e-10, atol=1e-14)
    assert not maps["inner"][0, 2].any()


@pytest.mark.parametrize("kind", KINDS)
def test_second_derivatives_are_those_of_autograd(kind: GradientMapKind) -> None:
    """The closed form's graph against that of the whole network above the layer, by every parameter."""
    sums = torch.tensor([[[1.0, 0, 1], [0, 1, 0], [0, 1, 1]], [[0, 1, 0], [1, 0, 0], [1, 0, 0]]], dtype=torch.float64)
    gradients = []
    for closed in (True, False):
        network = _network(batch_norm="train")
        network.head.classifier.weight.data *= 30
        torch.manual_seed(1)
        output = network(torch.randn(3, 3, 32, 40, dtype=torch.float64))
        output = output if closed else output._replace(linear_weight=None)
        maps = combined_attention(output, sums, kind=kind, layers=("inner", "last"), weight_gradient=True)
        sum((value**2).sum() * 1e3 for value in maps.values()).backward()
        gradients.append([parameter.grad for parameter in network.parameters()])
    for ours, theirs in zip(*gradients, strict=True):
        if theirs is not None or ours is not None:
            torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-14)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layers", [("inner", "last"), ("last",)])
def test_the_second_order_stays_above_the_layer(kind: GradientMapKind, layers: tuple[str, ...]) -> None:
    """Two passes through the last stage: its two convolutions are differentiated twice each, no other one is."""
    network = _network(batch_norm="train")
    output = network(torch.randn(3, 3, 32, 40, dtype=torch.float64))
    sums = torch.eye(3, dtype=torch.float64)[torch.tensor([[0, 2, 1], [1, 1, 0]])]
    maps = combined_attention(output, sums, kind=kind, layers=layers, weight_gradient=True)
    nodes = graph(sum(value.sum() for value in maps.values()))
    weights = {id(p): name for name, p in network.named_parameters()}
    twice = [node for node in nodes if type(node).__name__ == "ConvolutionBackwardBackward0"]
    reached = sorted(weights[id(node._saved_weight)] for node in twice)
    above = [name for name in weights.values() if name.startswith("backbone.stage3") and "conv" in name]
    assert reached == (sorted(above * 2) if "inner" in layers else [])
    assert any(type(node).__name__ == "ConvolutionBackward0" for node in nodes)


def graph(value: Any) -> list[Any]:
    """Every node of a tensor's graph."""
    result, waiting = [], [value.grad_fn]
    seen = set(waiting)
    while waiting:
        node = waiting.pop()
        result.append(node)
        new = {after for after, _ in node.next_functions if after is not None} - seen
        seen |= new
        waiting += new
    return result


def test_constants_by_default() -> None:
    output = _output()
    maps = combined_attention(output, torch.ones(1, 3, 3), kind="channel", layers=("inner",))["inner"]
    names = {type(node).__name__ for node in graph(maps)}
    assert not {name for name in names if name.endswith("BackwardBackward0")}
    assert maps.requires_grad


def test_the_last_layer_alone_needs_no_graph() -> None:
    network = _network()
    with torch.no_grad():
        output = network(torch.randn(2, 3, 32, 32, dtype=torch.float64))
        maps = combined_attention(output, torch.ones(1, 2, 3), kind="pixel", layers=("last",))
        assert maps["last"].shape == (1, 2, 4, 4)
        with pytest.raises(ValueError, match="gradients enabled"):
            combined_attention(output, torch.ones(1, 2, 3), kind="pixel", layers=("inner",))


def test_what_does_not_fit_is_refused() -> None:
    output = _output()
    with pytest.raises(ConfigError, match="does not expose the layer 'stage1', only inner, last"):
        combined_attention(output, torch.ones(1, 3, 3), kind="channel", layers=("stage1",))
    with pytest.raises(ValueError, match=r"must have the shape \(M, \*\(3, 3\)\), not \(3, 3\)"):
        combined_attention(output, torch.ones(3, 3), kind="channel", layers=("last",))
    stranger = output._replace(features=output.features | {"inner": torch.rand(3, 6, 4, 4, requires_grad=True)})
    with pytest.raises(ValueError, match="do not depend on the features of 'inner'"):
        combined_attention(stranger, torch.ones(1, 3, 3), kind="channel", layers=("inner",))
    empty: dict[str, Tensor] = combined_attention(output, torch.ones(0, 3, 3), kind="channel", layers=("inner",))
    assert empty["inner"].shape[:2] == (0, 3)
