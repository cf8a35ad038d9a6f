"""On every backbone: closed form against autograd, kinds against each other, an image's maps against its company."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from attn.maps import MapKind, attention, class_activation
from attn.models import ModelConfig, Output, architecture, architectures

PAIRS = torch.tensor([[0, 0], [0, 2], [1, 1], [1, 2], [1, 3]])
CASES = [(name, head) for name in architectures() for head in architecture(name).heads if head != "fc"]


def _output(name: str, head: str, images: Tensor) -> Output:
    torch.manual_seed(0)
    settings = {"name": name, "weights": None, "head": head, "head_convolutions": 1 if head == "conv" else 0}
    network = ModelConfig.model_validate(settings).build(4).eval()
    # As built, the class scores are all but equal: larger weights make the comparison a sharp one.
    network.head.classifier.weight.data *= 10
    return network(images)


def _close(got: Tensor, expected: Tensor) -> None:
    """Equal to 1e-5 of each map's maximum."""
    peak = expected.detach().amax(dim=(1, 2), keepdim=True)
    assert bool((peak > 0).any())
    assert bool(((got - expected).abs() <= 1e-5 * peak + 1e-12).all())


@pytest.mark.parametrize(("name", "head"), CASES)
def test_closed_form_equals_autograd(name: str, head: str) -> None:
    torch.manual_seed(1)
    output = _output(name, head, torch.randn(2, 3, 64, 64))
    assert output.linear_weight is not None
    kinds: tuple[MapKind, ...] = ("cam", "grad_cam", "channel", "pixel")
    maps = {kind: attention(output, PAIRS, kind=kind) for kind in kinds}
    by_gradient = output._replace(linear_weight=None)
    for kind in ("grad_cam", "channel", "pixel"):
        _close(maps[kind], attention(by_gradient, PAIRS, kind=kind))

    last = output.features["last"]
    positions, channels = last.shape[2] * last.shape[3], last.shape[1]
    classical = torch.einsum("nk,nkhw->nhw", output.linear_weight[PAIRS[:, 1]], last[PAIRS[:, 0]]).relu()
    _close(maps["grad_cam"] * positions, classical)
    _close(maps["pixel"] * positions * channels, classical)
    if output.class_maps is not None:  # The bias starts at 0, so that class maps hold nothing else.
        _close(maps["cam"], class_activation(output.class_maps, PAIRS))
    _close(maps["cam"], classical)


@pytest.mark.parametrize("name", ["tiny", "resnet18", "mobilenet_v2"])
@pytest.mark.parametrize("kind", ["grad_cam", "channel", "pixel"])
@pytest.mark.parametrize("layer", ["last", "inner"])
def test_maps_of_an_image_do_not_depend_on_its_company(name: str, kind: MapKind, layer: str) -> None:
    torch.manual_seed(0)
    network = ModelConfig(name=name, weights=None).build(4, ("inner",)).eval().double()
    images = torch.randn(3, 3, 48, 48, dtype=torch.float64)
    output = network(images)._replace(linear_weight=None)
    together = attention(output, PAIRS, kind=kind, layer=layer)
    alone_output = network(images[1:2])._replace(linear_weight=None)
    alone = attention(alone_output, PAIRS[2:] - torch.tensor([1, 0]), kind=kind, layer=layer)
    torch.testing.assert_close(together[2:], alone)
