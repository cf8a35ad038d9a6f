"""Exclusive and independent classes: one place decides what is trained and what a probability is."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from attn.losses import class_probabilities, classification_loss, multilabel_soft_margin


def test_exclusive_classes_are_trained_by_cross_entropy() -> None:
    random = np.random.default_rng(0)
    logits, classes = random.normal(size=(5, 4)) * 3, random.integers(0, 4, 5)
    shifted = logits - logits.max(axis=1, keepdims=True)
    soft = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
    given = torch.tensor(logits, requires_grad=True)
    loss = classification_loss(given, torch.eye(4)[torch.tensor(classes)], exclusive=True)
    loss.backward()
    assert loss.item() == pytest.approx(-np.log(soft[range(5), classes]).mean(), rel=1e-12)
    assert given.grad is not None
    np.testing.assert_allclose(given.grad.numpy(), (soft - np.eye(4)[classes]) / 5, rtol=1e-10, atol=1e-15)
    np.testing.assert_allclose(class_probabilities(torch.tensor(logits), exclusive=True).numpy(), soft, rtol=1e-12)


def test_other_classes_by_the_soft_margin() -> None:
    logits, labels = torch.randn(3, 4), torch.tensor([[1.0, 0, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1]])
    assert torch.equal(classification_loss(logits, labels, exclusive=False), multilabel_soft_margin(logits, labels))
    assert torch.equal(class_probabilities(logits, exclusive=False), logits.sigmoid())


def test_labels_that_do_not_exclude_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="exactly one class per image; image 1 has 2"):
        classification_loss(torch.zeros(2, 3), torch.tensor([[0.0, 1, 0], [1, 1, 0]]), exclusive=True)
    with pytest.raises(ValueError, match=r"shape \(B, C\)"):
        classification_loss(torch.zeros(2, 3), torch.zeros(2, 2), exclusive=True)
    assert classification_loss(torch.zeros(0, 3), torch.zeros(0, 3), exclusive=True).item() == 0
