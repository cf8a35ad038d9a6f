"""ICASC's whole step against equations 3 to 9, one image at a time, in double precision.

The reference takes ∂s/∂f of one image's score with plain autograd, writes out every sum, and never batches.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from attn.data.sample import Batch
from attn.methods import Progress
from attn.models import ModelConfig, Network
from tests.numerics.steps import assert_step_agrees

# Image 1 has no class and image 3 has all of them: neither has a target and something to mistake it for.
SEVERAL = torch.tensor([[1, 0, 1, 0], [0, 0, 0, 0], [0, 1, 0, 0], [1, 1, 1, 1]], dtype=torch.float64)
ONE = torch.eye(4, dtype=torch.float64)[[2, 0, 0, 3]]
PROGRESS = Progress(epoch=1, step=7, fraction=0.5)
WEIGHTS = ("iou_inner", "iou_last", "consistency")


def make_network(head: str = "gap") -> Network:
    torch.manual_seed(3)
    settings = {"name": "tiny", "weights": None, "head": head, "widths": (4, 6, 8), "batch_norm": "frozen"}
    network = ModelConfig.model_validate(settings).build(4, ("inner",)).double()
    network.head.classifier.weight.data *= 30
    return network


def make_batch(labels: Tensor, *, exclusive: bool) -> Batch:
    torch.manual_seed(4)
    images = torch.randn(4, 3, 32, 40, dtype=torch.float64)
    none = torch.zeros((0, 2), dtype=torch.int64)
    return Batch((0, 1, 2, 3), (), images, labels, (), none, images[:0, 0], exclusive=exclusive)


def attention_map(kind: str, f: Tensor, g: Tensor) -> Tensor:
    if kind == "pixel":
        return ((g * f).sum(dim=0) / len(f)).clamp(min=0)
    weights = (g.clamp(min=0) if kind == "channel" else g).sum(dim=(1, 2)) / f[0].numel()
    return sum(weights[k] * f[k] for k in range(len(f))).clamp(min=0)


def share(part: Tensor, whole: Tensor) -> Tensor:
    """A ReLU may leave nothing of a map of signed weights; what is nothing has no share and no maximum."""
    return part / whole if whole > 0 else part * 0


def reference(network: Network, batch: Batch, config: dict[str, Any]) -> dict[str, Tensor]:
    kind, keep = config.get("map_kind", "channel"), config.get("weight_gradient", True)
    scale, fraction = config.get("mask_scale", 100), config.get("mask_fraction", 0.55)
    sums: dict[str, list[Tensor]] = {name: [] for name in ("classification", *WEIGHTS)}
    for image, labels in zip(batch.images, batch.labels, strict=True):
        output = network(image[None])
        logits = output.logits[0]
        if batch.exclusive:
            sums["classification"].append(-logits.log_softmax(0)[labels == 1].sum())
        else:
            terms = labels * logits.sigmoid().log() + (1 - labels) * (1 - logits.sigmoid()).log()
            sums["classification"].append(-terms.mean())
        if labels.sum() in (0, len(labels)):
            continue
        absent = [c for c in range(4) if labels[c] == 0]
        scores = {"target": logits[labels == 1].sum(), "other": logits[max(absent, key=logits.tolist().__getitem__)]}
        maps: dict[tuple[str, str], Tensor] = {}
        for layer in ("inner", "last"):
            f = output.features[layer]
            for name, score in scores.items():
                (g,) = torch.autograd.grad(score, f, retain_graph=True, create_graph=True)
                maps[name, layer] = attention_map(kind, f[0], (g if keep else g.detach())[0])
        seen = maps["target", "last"] if config.get("mask_gradient") else maps["target", "last"].detach()
        seen = seen if config.get("normalize") == "none" else share(seen, seen.max())
        mask = 1 / (1 + torch.exp(-scale * (seen - fraction * seen.max())))
        for layer in ("inner", "last"):
            target, other = maps["target", layer], maps["other", layer]
            here = functional.interpolate(mask[None, None], size=target.shape, mode="bilinear")[0, 0]
            if layer == "inner":
                inside = share((target * here).sum(), target.sum())
                sums["consistency"].append(config.get("alpha", 1) - inside)
            if config.get("normalize") == "all":
                target, other = share(target, target.max()), share(other, other.max())
            overlap = share(2 * (torch.minimum(target, other) * here).sum(), (target + other).sum())
            sums[f"iou_{layer}"].append(overlap)
    parts = {name: torch.stack(values).sum() / len(batch.images) for name, values in sums.items()}
    parts = {name: value for name, value in parts.items() if config.get(name, 1) > 0}
    loss = parts["classification"] + sum(config.get(name, 1) * parts[name] for name in WEIGHTS if name in parts)
    return {"loss": loss} | parts


@pytest.mark.parametrize("several", [True, False])
@pytest.mark.parametrize(
    ("config", "head"),
    [
        ({}, "gap"),
        ({}, "conv"),
        ({"map_kind": "pixel"}, "gap"),
        ({"map_kind": "pixel", "weight_gradient": False}, "conv"),
        ({"map_kind": "grad_cam", "normalize": "all"}, "gap"),
        ({"weight_gradient": False}, "gap"),
        ({"normalize": "none", "mask_scale": 7.0, "mask_fraction": 0.3, "alpha": 0.8}, "gap"),
        ({"mask_gradient": True, "mask_scale": 5.0, "iou_inner": 0.3, "iou_last": 2.0, "consistency": 0.1}, "gap"),
        ({"iou_inner": 0, "consistency": 0}, "gap"),
        ({"iou_inner": 0, "iou_last": 0}, "gap"),
    ],
    ids=str,
)
def test_loss_parts_and_gradients(config: dict[str, Any], head: str, several: bool) -> None:
    network = make_network(head)
    batch = make_batch(SEVERAL if several else ONE, exclusive=not several)
    expected = reference(network, batch, config)
    assert_step_agrees(network, batch, {"name": "icasc"} | config, expected, PROGRESS)
