"""ICASC: what its step does and leaves alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from attn.data.sample import Batch
from attn.methods import Method, MethodConfig, Progress
from attn.methods.icasc import Icasc
from attn.models import ModelConfig, Network
from tests.maps.test_combined import graph

PROGRESS = Progress(epoch=0, step=0, fraction=0.0)


def _method(**settings: Any) -> Method:
    return MethodConfig.members["icasc"].model_validate({"name": "icasc"} | settings).build()


def _network(name: str = "tiny", **settings: Any) -> Network:
    torch.manual_seed(0)
    return ModelConfig.model_validate({"name": name, "weights": None} | settings).build(5, ("inner",))


def _batch(labels: list[list[int]]) -> Batch:
    torch.manual_seed(1)
    images, none = torch.randn(len(labels), 3, 64, 64), torch.zeros((0, 2), dtype=torch.int64)
    return Batch(tuple(range(len(labels))), (), images, torch.tensor(labels).float(), (), none, images[:0, 0])


LABELS = [[1, 0, 0, 1, 0], [0, 1, 0, 0, 0]]


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "vgg16"])
def test_the_step_differentiates_twice_above_the_layer_only(name: str) -> None:
    """The graph of the loss: each convolution of the last stage twice, for target and confusing class, no other one."""
    network = _network(name)
    loss = _method().step(network, _batch(LABELS), PROGRESS).losses["loss"]
    weights = {id(parameter): key for key, parameter in network.named_parameters()}
    twice = [node for node in graph(loss) if type(node).__name__ == "ConvolutionBackwardBackward0"]
    stages = list(network.backbone.stages().values())
    above = {id(parameter) for module in stages[-1] for parameter in module.parameters() if parameter.ndim == 4}
    reached = [id(node._saved_weight) for node in twice]
    assert sorted(reached) == sorted([*above, *above]), sorted({weights[node] for node in reached})


def test_detached_weights_leave_no_second_order() -> None:
    loss = _method(weight_gradient=False).step(_network(), _batch(LABELS), PROGRESS).losses["loss"]
    assert not [node for node in graph(loss) if type(node).__name__.endswith("BackwardBackward0")]


def test_images_without_a_pair_add_nothing() -> None:
    """One without a class and one with all of them count in the mean, with 0."""
    network, whole = _network(batch_norm="frozen"), _batch([*LABELS, [0] * 5, [1] * 5])
    pair = replace(whole, images=whole.images[:2], labels=whole.labels[:2])
    rest = replace(whole, images=whole.images[2:], labels=whole.labels[2:])
    four, two, none = (_method().step(network, batch, PROGRESS).losses for batch in (whole, pair, rest))
    for name in ("iou_last", "iou_inner", "consistency"):
        assert four[name].item() == pytest.approx(two[name].item() / 2, rel=1e-5)
        assert none[name].item() == 0
    none["loss"].backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_warm_up_is_classification_alone() -> None:
    network, batch = _network(), _batch(LABELS)
    plain = MethodConfig.members["grad_cam"].model_validate({"name": "grad_cam"}).build()
    expected = plain.step(network, batch, PROGRESS).losses["loss"].item()
    losses = _method(warmup_epochs=1).step(network, batch, PROGRESS).losses
    assert losses.keys() == {"loss", "classification"}
    assert losses["loss"].item() == expected
    after = _method(warmup_epochs=1).step(network, batch, replace(PROGRESS, epoch=1)).losses
    assert {"iou_last", "iou_inner", "consistency"} <= after.keys()


def test_only_what_has_a_weight_is_computed() -> None:
    method = _method(iou_inner=0, consistency=0)
    assert method.layers == ()
    network = ModelConfig(name="tiny", weights=None).build(5)
    assert method.step(network, _batch(LABELS), PROGRESS).losses.keys() == {"loss", "classification", "iou_last"}
    with pytest.raises(ValidationError, match="set one of them above 0, or method.name=grad_cam"):
        _method(iou_inner=0, iou_last=0, consistency=0)


def test_training_moves_the_maps_apart() -> None:
    network, batch, method = _network(batch_norm="frozen"), _batch(LABELS), _method()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05)
    series = []
    for _ in range(20):
        losses = method.step(network, batch, PROGRESS).losses
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
        series.append(sum(losses[name].item() for name in ("iou_last", "iou_inner", "consistency")))
    assert series[-1] < 0.7 * series[0]


@pytest.mark.parametrize("kind", ["channel", "pixel"])
def test_half_precision_stays_finite(kind: str) -> None:
    network = _network("resnet18")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = _method(map_kind=kind).step(network, _batch(LABELS), PROGRESS).losses
    losses["loss"].backward()
    assert all(bool(value.isfinite()) for value in losses.values())
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in network.parameters())


@pytest.mark.parametrize("kind", ["channel", "pixel"])
@pytest.mark.parametrize("part", ["iou_last", "iou_inner", "consistency"])
def test_every_term_trains_what_lies_below_and_above_its_layer(kind: str, part: str) -> None:
    """Through the features down to the first convolution, and through the gradients up to the classifier."""
    network, batch = _network(), _batch(LABELS)
    method = _method(map_kind=kind)
    assert isinstance(method, Icasc)
    network.head.classifier.weight.data *= 30
    method.terms(network(batch.images), batch.labels)[part].backward()
    for key in ("backbone.stage1.conv1.weight", "backbone.stage3.conv2.weight", "head.classifier.weight"):
        gradient = network.get_parameter(key).grad
        assert gradient is not None, key
        assert float(gradient.abs().sum()) > 0 or (part == "consistency" and key.startswith("head")), key
