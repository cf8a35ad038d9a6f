"""GAIN: what a step does and does not do, and which settings contradict each other."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from attn.data.sample import Batch
from attn.methods import MethodConfig, Progress, Supervision
from attn.models import ModelConfig, Network

WARM, LATER = Progress(0, 0, 0.0), Progress(1, 10, 0.5)


def _gain(**settings: Any) -> Any:
    return MethodConfig.members["gain"].model_validate({"name": "gain"} | settings).build()


def _network(layers: tuple[str, ...] = (), **settings: Any) -> Network:
    torch.manual_seed(0)
    return ModelConfig.model_validate({"name": "tiny", "weights": None} | settings).build(3, layers)


def _batch(labels: list[list[int]], supervised: int = 0) -> Batch:
    torch.manual_seed(1)
    hot = torch.tensor(labels, dtype=torch.float32)
    pairs = hot.nonzero()[:supervised]
    regions = (torch.rand(len(pairs), 32, 32) > 0.5).float()
    return Batch(tuple(range(len(hot))), (), torch.randn(len(hot), 3, 32, 32), hot, (), pairs, regions)


class Counted:
    """A network that counts its passes and the images in them."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.passes: list[int] = []

    def __call__(self, images: Tensor, **options: bool) -> Any:
        self.passes.append(len(images))
        return self.network(images, **options)


def _step(counted: Counted, batch: Batch, progress: Progress, **settings: Any) -> dict[str, torch.Tensor]:
    return _gain(**settings).step(counted, batch, progress).losses


@pytest.mark.parametrize(
    ("settings", "progress", "passes", "names"),
    [
        ({}, LATER, [2, 3], ["mining"]),
        ({}, WARM, [2], []),
        ({"warmup_epochs": 0}, WARM, [2, 3], ["mining"]),
        ({"alpha": 0.0}, LATER, [2], []),
        ({"alpha": 0.0, "extra_supervision": "masks"}, LATER, [2], ["extra"]),
        ({"extra_supervision": "masks"}, WARM, [2], []),
        ({"extra_supervision": "masks", "warmup_extra": True}, WARM, [2], ["extra"]),
        ({"extra_supervision": "boxes"}, LATER, [2, 3], ["mining", "extra"]),
    ],
    ids=str,
)
def test_a_step_computes_what_it_needs_and_no_more(
    settings: dict[str, Any], progress: Progress, passes: list[int], names: list[str]
) -> None:
    counted = Counted(_network())
    losses = _step(counted, _batch([[1, 0, 1], [0, 1, 0]], supervised=2), progress, **settings)
    assert counted.passes == passes
    assert losses.keys() == {"loss", "classification"} | set(names)


def test_masked_images_leave_the_running_statistics_alone() -> None:
    batch = _batch([[1, 0, 1], [0, 1, 0]])
    plain, mined = _network(), _network()
    plain(batch.images)
    _gain().step(mined, batch, LATER)
    for (name, expected), (_, got) in zip(plain.named_buffers(), mined.named_buffers(), strict=True):
        assert torch.equal(got, expected), name


def test_fixed_parameters_learn_of_mining_through_the_map_alone() -> None:
    batch = _batch([[1, 0, 1], [0, 1, 0]])
    gradients: dict[str, dict[str, Tensor]] = {}
    for kind in ("plain", "fixed", "all"):
        network = _network()
        settings = {"alpha": 0.0} if kind == "plain" else {"mining_parameters": kind}
        _gain(**settings).step(network, batch, LATER).losses["loss"].backward()
        gradients[kind] = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    head = "head.classifier.weight"
    assert torch.equal(gradients["fixed"][head], gradients["plain"][head])
    assert not torch.allclose(gradients["all"][head], gradients["plain"][head])
    trunk = "backbone.stage1.conv1.weight"
    assert not torch.allclose(gradients["fixed"][trunk], gradients["plain"][trunk])


@pytest.mark.parametrize("labels", [[[0, 0, 0], [0, 0, 0]], [[0, 0, 0], [0, 1, 0]]])
@pytest.mark.parametrize("parameters", ["all", "fixed"])
def test_images_without_a_class_or_supervision_are_no_trouble(labels: list[list[int]], parameters: str) -> None:
    network = _network()
    method = _gain(extra_supervision="masks", mining_parameters=parameters)
    losses = method.step(network, _batch(labels), LATER).losses
    losses["loss"].backward()
    assert losses["extra"] == 0
    assert (losses["mining"] == 0) == (not any(map(any, labels)))
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in network.parameters())


def test_a_network_whose_maps_are_all_zero_gives_no_nan() -> None:
    network = _network()
    network.head.classifier.weight.data.fill_(-1)
    losses = _gain(extra_supervision="masks").step(network, _batch([[1, 0, 1], [0, 1, 0]], supervised=3), LATER).losses
    losses["loss"].backward()
    assert bool(losses["loss"].isfinite())
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in network.parameters())


def test_a_fault_in_the_second_pass_leaves_the_network_as_it_was() -> None:
    network, calls = _network(), []

    def fail(*_: object) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("out of memory")

    network.head.classifier.register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        _gain().step(network, _batch([[1, 0, 0]] * 2), LATER)
    assert all(module.track_running_stats for module in network.modules() if hasattr(module, "track_running_stats"))


@pytest.mark.parametrize("kind", ["cam", "grad_cam", "channel", "pixel"])
@pytest.mark.parametrize("score", ["sigmoid", "logit"])
def test_in_bfloat16_every_part_is_finite(kind: str, score: str) -> None:
    network = _network(head="conv")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        method = _gain(map_kind=kind, mining_score=score, extra_supervision="masks")
        losses = method.step(network, _batch([[1, 0, 1], [0, 1, 0]], supervised=3), LATER).losses
    losses["loss"].backward()
    assert all(bool(value.isfinite()) for value in losses.values())
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in network.parameters())


def test_what_it_asks_of_the_data_and_the_network() -> None:
    assert _gain().supervision is None
    assert _gain().layers == ()
    method = _gain(extra_supervision="boxes", extra_images=0.1, extra_fraction=0.5, layer="inner", map_kind="pixel")
    assert method.supervision == Supervision("boxes", 0.1, 0.5, first_epoch=1)
    assert method.layers == ("inner",)
    assert (_gain().layer, method.layer) == ("last", "inner")
    assert method.map_kind == "pixel"


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"map_kind": "cam", "layer": "inner"}, "set layer=last or map_kind=grad_cam"),
        ({"extra_images": 1.5}, "set a whole number, or less than 1"),
        ({"extra_supervision": "masks", "extra_weight": 0.0}, "set extra_weight above 0"),
        ({"mask_scale": 0.0}, "mask_scale"),
        ({"mask_threshold": 1.1}, "mask_threshold"),
        ({"alpha": -1.0}, "alpha"),
        ({"alpha": float("nan")}, "alpha"),
        ({"extra_fraction": 0.0}, "extra_fraction"),
        ({"mining_score": "softmax"}, "mining_score"),
    ],
    ids=str,
)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        _gain(**settings)
