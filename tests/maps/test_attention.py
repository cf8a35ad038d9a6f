"""The dispatcher: what each kind reads, and what it says where the network does not have it."""

from __future__ import annotations

import pytest
import torch

from attn.errors import ConfigError
from attn.maps import MapKind, attention, pairs_of
from attn.models import ModelConfig, Output

PAIRS = torch.tensor([[0, 2], [1, 0], [1, 1]])


def _output(head: str, layers: tuple[str, ...] = (), *, grad: bool = True) -> Output:
    torch.manual_seed(0)
    network = ModelConfig.model_validate({"name": "tiny", "weights": None, "head": head}).build(3, layers).eval()
    with torch.set_grad_enabled(grad):
        return network(torch.randn(2, 3, 40, 40))


@pytest.mark.parametrize("kind", ["cam", "grad_cam", "channel", "pixel"])
@pytest.mark.parametrize("head", ["gap", "conv"])
def test_heads_with_a_closed_form_need_no_graph(head: str, kind: MapKind) -> None:
    output = _output(head, grad=False)
    maps = attention(output, PAIRS, kind=kind)
    assert maps.shape == (3, 5, 5)
    assert attention(output, PAIRS[:0], kind=kind).shape == (0, 5, 5)


def test_other_layers_need_a_graph() -> None:
    output = _output("gap", ("inner",))
    assert attention(output, PAIRS, kind="grad_cam", layer="inner").shape == (3, 5, 5)
    with pytest.raises(ValueError, match="gradients enabled"):
        attention(_output("gap", ("inner",), grad=False), PAIRS, kind="grad_cam", layer="inner")


def test_what_the_network_has_not_is_a_fault_of_the_configuration() -> None:
    with pytest.raises(ConfigError, match="does not expose the layer 'inner', only last"):
        attention(_output("gap"), PAIRS, kind="grad_cam", layer="inner")
    with pytest.raises(ConfigError, match="layer to last"):
        attention(_output("conv", ("inner",)), PAIRS, kind="cam", layer="inner")
    with pytest.raises(ConfigError, match=r"model\.head=conv"):
        attention(_output("gap")._replace(linear_weight=None), PAIRS, kind="cam")


def test_the_integral_map_is_the_probability_of_each_position() -> None:
    output = _output("conv")
    maps = attention(output, PAIRS, kind="integral")
    assert output.class_maps is not None
    expected = torch.stack([torch.sigmoid(output.class_maps[image, label]) for image, label in PAIRS.tolist()])
    assert torch.equal(maps, expected)
    assert torch.equal(attention(output, PAIRS, kind="cam") > 0, maps > 0.5)
    for other in (_output("gap"), _output("conv", ("inner",))):
        with pytest.raises(ConfigError, match=r"integral needs a class-aware convolution.*model\.head=conv"):
            attention(other, PAIRS, kind="integral", layer="last" if other.class_maps is None else "inner")


@pytest.mark.parametrize("kind", ["cam", "integral", "grad_cam", "channel", "pixel"])
def test_pairs_outside_the_output_are_refused(kind: str) -> None:
    with pytest.raises(ValueError, match="class must lie"):
        attention(_output("conv"), torch.tensor([[0, 3]]), kind=kind)


def test_only_wanted_classes_are_computed() -> None:
    output = _output("conv")
    assert len(attention(output, pairs_of(torch.tensor([[1, 0, 0], [0, 0, 0]])), kind="grad_cam")) == 1
