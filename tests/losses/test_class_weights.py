"""Weights for classes of unequal frequency, held against NumPy and scikit-learn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.utils.class_weight import compute_class_weight

from attn.data.class_weights import balanced_weights
from attn.errors import ConfigError
from attn.losses import classification_loss
from attn.methods import MethodConfig
from attn.runs.config_reader import read_config
from attn.runs.recipes import config_text, load_config
from attn.training.classifier import build_components
from attn.training.train_config import TrainConfig
from tests.methods.test_registry import PROGRESS, _batch, _config, _network
from tests.training.alone import lone_trainer

LABELS = arrays(np.int64, st.tuples(st.integers(1, 12), st.integers(1, 5)), elements=st.integers(0, 1))


@settings(deadline=None)
@given(LABELS)
def test_each_class_and_both_its_sides_weigh_the_same(labels_NC: np.ndarray) -> None:
    weights = balanced_weights(torch.from_numpy(labels_NC.sum(0)), len(labels_NC))
    pairs_NC = weights.of_pairs(torch.from_numpy(labels_NC)).numpy()
    assert pairs_NC.mean(axis=0) == pytest.approx(1)
    for number in range(labels_NC.shape[1]):
        present = labels_NC[:, number] == 1
        if present.any() and not present.all():
            given_class = compute_class_weight("balanced", classes=np.array([0, 1]), y=labels_NC[:, number])
            assert pairs_NC[:, number] == pytest.approx(given_class[labels_NC[:, number]])
        else:
            assert (pairs_NC[:, number] == 1).all()


@settings(deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=20))
def test_exclusive_classes_weigh_the_same(classes: list[int]) -> None:
    labels_NC = np.eye(5, dtype=np.int64)[classes]
    weights = balanced_weights(torch.from_numpy(labels_NC.sum(0)), len(classes))
    by_class = compute_class_weight("balanced", classes=np.unique(classes), y=classes)
    expected = by_class[np.searchsorted(np.unique(classes), classes)]
    assert weights.of_images(torch.from_numpy(labels_NC)).numpy() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("exclusive", [False, True])
def test_the_weighted_loss_by_its_formula(exclusive: bool) -> None:
    random = np.random.default_rng(3)
    labels = np.eye(4)[random.integers(0, 3, 9)] if exclusive else (random.random((9, 4)) < [0.5, 0.2, 0.8, 0]) * 1.0
    logits, count = random.normal(size=(9, 4)) * 2, labels.sum(0)
    weights = balanced_weights(torch.from_numpy(count).long(), 9)
    if exclusive:
        soft = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        by_class = 9 / ((count > 0).sum() * np.maximum(count, 1))
        expected = np.mean([-np.log(soft[n, c]) * by_class[c] for n, c in enumerate(labels.argmax(1))])
    else:
        one = (count == 0) | (count == 9)
        present, absent = (np.where(one, 1, 9 / (2 * np.maximum(n, 1))) for n in (count, 9 - count))
        p = 1 / (1 + np.exp(-logits))
        expected = np.mean(-present * labels * np.log(p) - absent * (1 - labels) * np.log(1 - p))
    given_logits, given_labels = torch.tensor(logits), torch.tensor(labels)
    result = classification_loss(given_logits, given_labels, exclusive=exclusive, weights=weights)
    assert result.item() == pytest.approx(expected, rel=1e-6)
    # The mean over workers is the value of the joint batch.
    parts = [classification_loss(given_logits[rows], given_labels[rows], exclusive=exclusive, weights=weights)
             for rows in (slice(0, 3), slice(3, 6), slice(6, 9))]  # fmt: skip
    assert np.mean([part.item() for part in parts]) == pytest.approx(result.item(), rel=1e-6)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        *((name, {}) for name in sorted({*MethodConfig.members} - {"attnbn"})),
        ("attnbn", {"losses": ("target",), "source": None}),  # with a second stream weights are refused: see below
    ],
)
def test_a_method_takes_weights_if_it_says_so(name: str, changes: dict[str, Any]) -> None:
    config = type(_config(name)).model_validate(_config(name).model_dump() | changes)
    method, head = config.build(), "conv" if config.needs_class_maps else "gap"
    network = _network("tiny", head, method.layers)
    if hasattr(method, "auxiliary"):
        method.auxiliary(network)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    batch = _batch(network, name)
    weighted = replace(batch, class_weights=balanced_weights(torch.tensor([1, 2, 3]), 9))
    network.eval()
    losses = [method.step(network, one, PROGRESS).losses["loss"].item() for one in (batch, weighted)]
    assert (losses[0] != losses[1]) == config.weighs_classes


def test_weights_are_of_the_training_split_and_reach_the_loss() -> None:
    settings = ["data.count=16", "data.size=32", "input.size=32", "model.widths=[8,8,8]", "cluster.workers=1"]
    config = load_config(TrainConfig, "scenes_grad_cam", [*settings, "training.class_weights=balanced"])
    trainer = lone_trainer(config)
    source = trainer.components.source
    counts = torch.zeros(len(source.classes), dtype=torch.int64)
    for record in source.records:
        counts[list(record.labels)] += 1
    expected = balanced_weights(counts, 16)
    batch = next(trainer._batches(0))
    assert batch.class_weights is not None
    assert torch.equal(batch.class_weights.present, expected.present)
    assert torch.equal(batch.class_weights.absent, expected.absent)
    plain = build_components(load_config(TrainConfig, "scenes_grad_cam", settings), rank=0, world=1)
    assert plain.class_weights is None


@pytest.mark.parametrize(
    ("recipe", "changes", "problem"),
    [
        ("scenes_oaa_plus", ["training.class_weights=balanced"], "oaa_plus has no classification loss"),
        ("scenes_attnbn", ["training.class_weights=balanced"], "attnbn has two streams"),
        ("segment_scenes", ["training.class_weights=balanced"], "training.class_weights=balanced is of classifiers"),
        ("segment_scenes", ["retrain.training.class_weights=balanced"], "retrain.training.class_weights"),
        ("scenes_oaa", ["training.sampling=balanced"], "store.accumulate needs the maps of all images"),
        ("scenes_gain", ["training.sampling=balanced", "training.class_weights=balanced"], "set one of them"),
        ("scenes_gain", ["training.class_weights=even"], "class_weights"),
    ],
)
def test_where_they_make_no_sense_they_are_refused(recipe: str, changes: list[str], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        read_config(*config_text(recipe), changes)
