"""On another device than the CPU: in a training step losses wait for nothing, and a wrong value makes them NaN."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from attn.losses import (
    attention_consistency,
    attention_constraint,
    attention_mining,
    balanced_seeding,
    boundary,
    classification_loss,
    erase,
    expansion,
    external_supervision,
    integral_cross_entropy,
    integral_hybrid,
    multilabel_soft_margin,
    seeding,
    soft_iou,
)
from attn.losses.confusion_maps import confusion_maps
from attn.maps import attention
from attn.maps.checks import deferred
from attn.maps.gradient import channel_attention, grad_cam, pixel_attention
from attn.models import ModelConfig
from attn.models.output import Output
from benchmarks.stand_in import DEVICE, StandInDevice

PAIRS = torch.tensor([[0, 0], [0, 2], [1, 1]])
LABELS = torch.tensor([[1.0, 0, 1], [0, 1, 0]])
ONE_CLASS = torch.tensor([[0.0, 0, 1], [0, 1, 0]])


def _random(*size: int) -> Tensor:
    torch.manual_seed(0)
    return torch.rand(size)


def _cues(value: int) -> Tensor:
    cues = torch.full((2, 4, 4), 255)
    cues[0, 0, 0], cues[1, 2, 3], cues[1, 0, 0] = value, 1, 0
    return cues


Loss = Callable[..., Tensor]
# A loss, its tensors, and those with one value that does not fit.
CASES: dict[str, tuple[Loss, tuple[Tensor, ...], tuple[Tensor, ...]]] = {
    "multilabel_soft_margin": (multilabel_soft_margin, (_random(2, 3), LABELS), (_random(2, 3), 2 * LABELS)),
    "exclusive classes": (
        lambda logits, labels: classification_loss(logits, labels, exclusive=True),
        (_random(2, 3), ONE_CLASS),
        (_random(2, 3), LABELS),
    ),
    "integral_cross_entropy": (
        integral_cross_entropy,
        (_random(2, 3, 4, 4), _random(2, 3, 4, 4), LABELS),
        (_random(2, 3, 4, 4), 2 * _random(2, 3, 4, 4), LABELS),
    ),
    "integral_hybrid": (
        integral_hybrid,
        (_random(2, 3, 4, 4), _random(2, 3, 4, 4), LABELS),
        (_random(2, 3, 4, 4), _random(2, 3, 4, 4), -LABELS),
    ),
    "external_supervision": (
        lambda maps, targets: external_supervision(maps, targets, PAIRS),
        (_random(3, 4, 4), _random(3, 4, 4)),
        (_random(3, 4, 4), -_random(3, 4, 4)),
    ),
    "attention_constraint": (
        attention_constraint,
        (_random(3, 4, 4), _random(3, 4, 4)),
        (_random(3, 4, 4), math.nan * _random(3, 4, 4)),
    ),
    "soft_iou": (soft_iou, (_random(3, 4, 4),) * 3, (_random(3, 4, 4), -_random(3, 4, 4), _random(3, 4, 4))),
    "attention_consistency": (
        attention_consistency,
        (_random(3, 4, 4), _random(3, 4, 4)),
        (_random(3, 4, 4), 2 * _random(3, 4, 4)),
    ),
    "seeding": (seeding, (-_random(2, 3, 4, 4), _cues(2)), (-_random(2, 3, 4, 4), _cues(3))),
    "balanced_seeding": (balanced_seeding, (-_random(2, 3, 4, 4), _cues(2)), (-_random(2, 3, 4, 4), _cues(-1))),
    "expansion": (expansion, (_random(2, 4, 4, 4), LABELS), (2 * _random(2, 4, 4, 4), LABELS)),
    "boundary": (boundary, (-_random(2, 3, 4, 4), _random(2, 3, 4, 4)), (-_random(2, 3, 4, 4), -_random(2, 3, 4, 4))),
}


def _on_device(loss: Loss, tensors: tuple[Tensor, ...]) -> float:
    with StandInDevice() as device, deferred():
        result = loss(*(tensor.to(DEVICE, non_blocking=True) for tensor in tensors))
        assert result.device == DEVICE
        assert not device.waits
        return result.item()


@pytest.mark.parametrize("name", CASES)
def test_a_loss_waits_for_nothing_and_is_that_of_the_cpu(name: str) -> None:
    loss, valid, _ = CASES[name]
    assert _on_device(loss, valid) == loss(*valid).item()


@pytest.mark.parametrize("name", CASES)
def test_a_value_that_does_not_fit_is_an_error_and_nan_where_checks_are_deferred(name: str) -> None:
    loss, _, invalid = CASES[name]
    for deferring in (contextlib.nullcontext(), deferred()):
        with deferring, pytest.raises(ValueError, match=r"must|need|may be negative"):
            loss(*invalid)
    with StandInDevice(), pytest.raises(ValueError, match=r"must|need|may be negative"):
        loss(*(tensor.to(DEVICE, non_blocking=True) for tensor in invalid))
    assert math.isnan(_on_device(loss, invalid))


MAPS: dict[str, Callable[[Output, Tensor], Tensor]] = {
    "grad_cam": lambda output, pairs: grad_cam(output.logits, output.features["inner"], pairs),
    "channel": lambda output, pairs: channel_attention(output.logits, output.features["inner"], pairs),
    "pixel": lambda output, pairs: pixel_attention(output.logits, output.features["inner"], pairs),
    "grad_cam in closed form": lambda output, pairs: attention(output, pairs, kind="grad_cam"),
    "cam": lambda output, pairs: attention(output, pairs, kind="cam"),
}


@pytest.mark.parametrize("kind", MAPS)
def test_maps_of_pairs_on_the_host_wait_for_nothing(kind: str) -> None:
    torch.manual_seed(0)
    model = ModelConfig.model_validate({"name": "tiny", "weights": None, "widths": (4, 6, 8), "batch_norm": "frozen"})
    network, images = model.build(3, ("inner",)), _random(2, 3, 24, 24)
    expected = MAPS[kind](network(images), PAIRS)
    with StandInDevice() as device:
        output = network.to(DEVICE)(images.to(DEVICE))
        device.waits.clear()
        maps = MAPS[kind](output, PAIRS)
        assert not device.waits
        again = MAPS[kind](output, PAIRS.to(DEVICE))
        assert maps.tolist() == expected.tolist() == again.tolist()


def test_erased_images_mining_and_confusion_wait_for_nothing() -> None:
    torch.manual_seed(0)
    network, images, masks, scores = ModelConfig(name="tiny", weights=None).build(3), _random(2, 3, 24, 24), *_masks()
    labels = torch.tensor([[1.0, 0, 1], [1, 1, 1]])  # the second image has no absent class
    expected = confusion_maps(network(images), labels, kind="channel", layers=("last",))
    with StandInDevice() as device:
        output = network.to(DEVICE)(images.to(DEVICE))
        uploaded = [tensor.to(DEVICE) for tensor in (images, masks, scores)]
        device.waits.clear()
        maps = confusion_maps(output, labels, kind="channel", layers=("last",))
        erased = erase(uploaded[0], uploaded[1], PAIRS)
        loss = attention_mining(uploaded[2], PAIRS)
        assert not device.waits
        assert maps.target["last"].tolist() == expected.target["last"].tolist()
        assert maps.other["last"].tolist() == expected.other["last"].tolist()
        assert erased.tolist() == erase(images, masks, PAIRS).tolist()
        assert loss.item() == attention_mining(scores, PAIRS).item()


def _masks() -> tuple[Tensor, Tensor]:
    return _random(3, 24, 24), _random(3)
