"""The training steps of cross-entropy, SEC and DSRG against their losses put together by hand; samples with cues."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from attn.data.sample import Batch, collate
from attn.data.sources.generated import ScenesConfig
from attn.data.transforms import InputConfig
from attn.errors import ConfigError
from attn.losses import balanced_seeding, boundary, expansion, grow_seeds, seeding
from attn.methods.base import Progress
from attn.segmentation.crf_pool import LocalCrfPool
from attn.segmentation.dataset import SegmentationDataset
from attn.segmentation.grid import labels_on_grid, upsample_scores
from attn.segmentation.labels import MaskLabels, read_labels
from attn.segmentation.methods import TRAINING_CRF, SegmentationMethodConfig
from attn.segmentation.networks import SegmentationModelConfig, SegmentationNetwork
from attn.segmentation.refinement import Refinement

INPUT = InputConfig(size=32)
PROGRESS = Progress(0, 0, 0.0)


@pytest.fixture(scope="module")
def batch() -> Batch:
    source = ScenesConfig(count=4, size=40).build()
    labels = read_labels(MaskLabels(), source.records, source.classes)
    dataset = SegmentationDataset(source, INPUT, train=True, seed=0, labels=labels, grid=(8, 8))
    batch = collate([dataset[index] for index in range(4)])
    assert batch.cues is not None
    for row, geometry in enumerate(batch.geometry):
        expected = labels_on_grid(source.load(row).mask, geometry, (8, 8))
        torch.testing.assert_close(batch.cues[row], expected)
    batch.cues[:, ::2] = 255
    return batch


@pytest.fixture
def network(batch: Batch) -> SegmentationNetwork:
    torch.manual_seed(0)
    config = SegmentationModelConfig(name="tiny", weights=None, stride=4, hidden=8, dropout=0, batch_norm="frozen")
    return config.build(batch.labels.shape[1])


def _step(network: SegmentationNetwork, batch: Batch, **method: Any) -> dict[str, torch.Tensor]:
    config = SegmentationMethodConfig.members[method["name"]].model_validate(method)
    parts = config.build(Refinement(INPUT, LocalCrfPool(0))).step(network, batch, PROGRESS).losses
    assert parts.keys() == {"loss", *config.terms()}
    return parts


def _floored(probs: torch.Tensor) -> torch.Tensor:
    raised = probs.clamp(min=1e-4)
    return raised / raised.sum(1, keepdim=True)


def _by_hand(network: SegmentationNetwork, batch: Batch, *, weak: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    logits = network(batch.images).logits
    probs = logits.softmax(1) + 1e-4
    log_probs = (probs / probs.sum(1, keepdim=True)).log()
    _, waiting = Refinement(INPUT, LocalCrfPool(0)).forward(network, batch.images, TRAINING_CRF, probability_unary=weak)
    return log_probs, _floored(waiting.result())


def test_cross_entropy_over_all_labelled_pixels(network: SegmentationNetwork, batch: Batch) -> None:
    parts = _step(network, batch, name="cross_entropy")
    log_probs = network(batch.images).logits.log_softmax(1)
    cues = batch.cues
    assert cues is not None
    at = (cues != 255).nonzero().tolist()
    expected = -np.mean([log_probs[b, int(cues[b, y, x]), y, x].item() for b, y, x in at])
    assert parts["loss"].item() == pytest.approx(expected, rel=1e-5)
    assert parts["loss"].requires_grad
    assert not parts["cross_entropy"].requires_grad


def test_cross_entropy_at_the_inputs_pixels(network: SegmentationNetwork, batch: Batch) -> None:
    from dataclasses import replace

    cues = torch.randint(0, 3, (4, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    parts = _step(network, replace(batch, cues=cues), name="cross_entropy", resolution="input")
    scores = upsample_scores(network(batch.images).logits, (32, 32), (32, 32)).log_softmax(1)
    expected = -scores.gather(1, cues.long()[:, None]).mean()
    assert parts["loss"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_sec(network: SegmentationNetwork, batch: Batch) -> None:
    parts = _step(network, batch, name="sec", seed_weight=2.0, boundary_weight=0.5)
    log_probs, refined = _by_hand(network, batch)
    assert batch.cues is not None
    expected = {
        "seed": seeding(log_probs, batch.cues),
        "expand": expansion(log_probs.exp(), batch.labels),
        "boundary": boundary(log_probs, refined),
    }
    for name, value in expected.items():
        assert parts[name].item() == pytest.approx(value.item(), rel=1e-4), name
    total = 2 * expected["seed"] + expected["expand"] + 0.5 * expected["boundary"]
    assert parts["loss"].item() == pytest.approx(total.item(), rel=1e-4)
    parts["loss"].backward()
    assert all(parameter.grad is not None for parameter in network.head.parameters())


@pytest.mark.parametrize("unary", ["log", "probability"])
def test_dsrg(network: SegmentationNetwork, batch: Batch, unary: str) -> None:
    parts = _step(network, batch, name="dsrg", foreground=0.1, background=0.1, crf_unary=unary)
    log_probs, refined = _by_hand(network, batch, weak=unary == "probability")
    assert batch.cues is not None
    grown = [
        grow_seeds(cue, probs, present, foreground=0.1, background=0.1)
        for cue, probs, present in zip(batch.cues.numpy(), refined.numpy(), batch.labels.numpy(), strict=True)
    ]
    seeds = torch.from_numpy(np.stack(grown))
    assert parts["seed"].item() == pytest.approx(balanced_seeding(log_probs, seeds).item(), rel=1e-4)
    assert parts["boundary"].item() == pytest.approx(boundary(log_probs, refined).item(), rel=1e-4, abs=1e-6)
    assert parts["seeded"].item() == pytest.approx((seeds != 255).float().mean().item())
    assert parts["seeded"] > (batch.cues != 255).float().mean()


@pytest.mark.parametrize("name", sorted(SegmentationMethodConfig.members))
def test_a_batch_without_cues_is_refused(network: SegmentationNetwork, batch: Batch, name: str) -> None:
    from dataclasses import replace

    with pytest.raises(ConfigError, match="no cues"):
        _step(network, replace(batch, cues=None), name=name)
