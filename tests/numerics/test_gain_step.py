"""GAIN's whole step against the paper's equations, one image and one class at a time, in double precision.

The reference never batches pairs: it takes ∂s^c/∂f of one score, masks one image, and sums in Python.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from attn.data.sample import Batch
from attn.methods import MethodConfig, Progress
from attn.models import ModelConfig, Network
from tests.numerics.steps import assert_step_agrees

LABELS = torch.tensor([[1, 0, 1], [0, 0, 0], [0, 1, 0], [1, 1, 1]], dtype=torch.float64)
SUPERVISED = torch.tensor([[2, 1], [3, 0], [3, 1], [3, 2]])
PROGRESS = Progress(epoch=1, step=7, fraction=0.5)


def make_network(head: str = "gap", layer: str = "last") -> Network:
    torch.manual_seed(3)
    settings = {"name": "tiny", "weights": None, "head": head, "widths": (4, 6, 8), "batch_norm": "frozen"}
    network = ModelConfig.model_validate(settings).build(3, () if layer == "last" else (layer,)).double()
    network.head.classifier.weight.data *= 30
    return network


def make_batch() -> Batch:
    torch.manual_seed(4)
    regions = torch.zeros(4, 32, 40, dtype=torch.float64)
    regions[0, 3:20, 5:30] = regions[1, :13, 7:] = regions[3, 20:, :21] = 1
    images = torch.randn(4, 3, 32, 40, dtype=torch.float64)
    return Batch((0, 1, 2, 3), (), images, LABELS, (), SUPERVISED, regions)


def raw_map(logit: Tensor, features: Tensor) -> Tensor:
    """Grad-CAM of one class with constant weights, not normalised."""
    (derivative,) = torch.autograd.grad(logit, features, retain_graph=True)
    weights = derivative[0].mean(dim=(1, 2))
    return sum(weights[k] * features[0, k] for k in range(len(weights))).clamp(min=0)  # pyright: ignore[reportReturnType]


def reference(network: Network, batch: Batch, config: dict[str, Any]) -> dict[str, Tensor]:
    apart = [False] * 4 if batch.supervised is None else batch.supervised.tolist()
    layer, second = config.get("layer", "last"), network
    if config.get("mining_parameters") == "fixed":
        second = copy.deepcopy(network).requires_grad_(False)
    classification, mining, extra, absent = [], [], [], []
    for row, (image, labels) in enumerate(zip(batch.images, batch.labels, strict=True)):
        output = network(image[None])
        logits, features = output.logits[0], output.features[layer]
        if not apart[row]:
            terms = labels * logits.sigmoid().log() + (1 - labels) * (1 - logits.sigmoid()).log()
            classification.append(-terms.mean())
        scores, errors, peaks = [], [], []
        for label in labels.nonzero().flatten().tolist():
            keep = config.get("weight_gradient", False)
            (derivative,) = torch.autograd.grad(logits[label], features, retain_graph=True, create_graph=keep)
            weights = derivative[0].mean(dim=(1, 2))
            attention = sum(weights[k] * features[0, k] for k in range(len(weights))).clamp(min=0)
            assert attention.max() > 0
            peak = attention.max().detach() if config.get("mining_normalizer") == "constant" else attention.max()
            mined, attention = attention / peak, attention / attention.max()
            large = functional.interpolate(mined[None, None], size=image.shape[1:], mode="bilinear")[0, 0]
            mask = 1 / (1 + torch.exp(-config.get("mask_scale", 10) * (large - config.get("mask_threshold", 0.5))))
            score = second((image - mask * image)[None]).logits[0, label]
            scores.append(score if config.get("mining_score") == "logit" else 1 / (1 + torch.exp(-score)))
            for location, (other, name) in enumerate(batch.region_pairs.tolist()):
                if (other, name) == (row, label):
                    target = functional.adaptive_avg_pool2d(batch.regions[location][None], attention.shape)[0]
                    errors.append((attention - target).square().mean())
                    peaks.append(peak.detach())
        if not apart[row]:
            mining.append(torch.stack(scores).mean() if scores else logits.sum() * 0)
        if errors:
            extra.append(torch.stack(errors).mean())
        others = [label for label in range(3) if labels[label] == 0] if errors and config.get("extra_absent") else []
        if others:
            maps = [raw_map(logits[label], features) for label in others]
            largest = 1 if config.get("extra_map") == "raw" else max(*peaks, *(one.detach().max() for one in maps))
            absent.append(torch.stack([(one / largest).square().mean() for one in maps]).mean())
    parts = {"classification": torch.stack(classification).mean(), "mining": torch.stack(mining).mean()}
    loss = parts["classification"] + config.get("alpha", 1) * parts["mining"]
    if config.get("extra_supervision", "none") != "none":
        parts["extra"] = torch.stack(extra).mean() + (torch.stack(absent).mean() if absent else 0)
        loss = loss + config.get("extra_weight", 10) * parts["extra"]
    return {"loss": loss} | parts


@pytest.mark.parametrize("head", ["gap", "conv"])
@pytest.mark.parametrize(
    "config",
    [
        {},
        {"alpha": 0.3, "mask_scale": 7.0, "mask_threshold": 0.2, "mining_score": "logit"},
        {"mining_parameters": "fixed"},
        {"mining_parameters": "fixed", "mining_normalizer": "constant", "extra_supervision": "masks"},
        {"weight_gradient": True},
        {"layer": "inner"},
        {"layer": "inner", "weight_gradient": True, "mining_parameters": "fixed"},
        {"extra_supervision": "masks"},
        {"extra_supervision": "boxes", "extra_weight": 0.7, "layer": "inner", "mining_parameters": "fixed"},
        {"extra_supervision": "masks", "extra_absent": True},
    ],
    ids=str,
)
def test_loss_parts_and_gradients(config: dict[str, Any], head: str) -> None:
    network, batch = make_network(head, config.get("layer", "last")), make_batch()
    expected = reference(network, batch, config)
    assert_step_agrees(network, batch, {"name": "gain"} | config, expected, PROGRESS)


@pytest.mark.parametrize(
    "config",
    [
        {"extra_supervision": "masks"},
        {"extra_supervision": "boxes", "extra_weight": 0.7, "layer": "inner", "mining_parameters": "fixed"},
        {"extra_supervision": "masks", "extra_absent": True},
    ],
    ids=str,
)
def test_rows_drawn_for_extra_supervision_add_to_it_alone(config: dict[str, Any]) -> None:
    """Section 3.3: the stream of classification has all images, and S_e stands apart."""
    network, batch = make_network(layer=config.get("layer", "last")), make_batch()
    batch = replace(
        batch,
        supervised=torch.tensor([False, False, False, True]),
        region_pairs=batch.region_pairs[1:],
        regions=batch.regions[1:],
    )
    expected = reference(network, batch, config)
    assert_step_agrees(network, batch, {"name": "gain"} | config, expected, PROGRESS)


@pytest.mark.parametrize(("apart", "names"), [(True, {"extra"}), (False, {"classification", "mining"})])
def test_a_batch_of_one_stream_has_its_terms_alone(apart: bool, names: set[str]) -> None:
    """Every parameter still gets a gradient, for which distributed training waits."""
    method = MethodConfig.members["gain"].model_validate({"name": "gain", "extra_supervision": "masks"}).build()
    network, batch = make_network(), make_batch()
    pairs = torch.tensor([[0, 1]]) if apart else batch.region_pairs[:0]
    batch = replace(
        batch,
        images=batch.images[2:3],
        labels=batch.labels[2:3],
        region_pairs=pairs,
        regions=batch.regions[: len(pairs)],
        supervised=torch.tensor([apart]),
    )
    losses = method.step(network, batch, PROGRESS).losses
    assert losses.keys() == {"loss"} | names
    losses["loss"].backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    weights = {"extra": 10, "classification": 1, "mining": 1}
    assert losses["loss"].item() == pytest.approx(sum(weights[name] * losses[name].item() for name in names))


def test_an_image_without_supervision_adds_nothing_to_it() -> None:
    method = MethodConfig.members["gain"].model_validate({"name": "gain", "extra_supervision": "masks"}).build()
    batch = make_batch()
    alone = replace(
        batch,
        images=batch.images[2:3],
        labels=batch.labels[2:3],
        region_pairs=torch.tensor([[0, 1]]),
        regions=batch.regions[:1],
    )
    some = replace(batch, region_pairs=batch.region_pairs[:1], regions=batch.regions[:1])
    assert torch.equal(
        method.step(make_network(), alone, PROGRESS).losses["extra"],
        method.step(make_network(), some, PROGRESS).losses["extra"],
    )
