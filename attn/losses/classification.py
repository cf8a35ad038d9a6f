"""Classification from image-level labels. Shapes: B images, C classes.

Whether classes are mutually exclusive is a property of the data (`attn.data.source.Source.exclusive`). It selects the
loss and the activation function here, and nowhere else.
"""

from __future__ import annotations

__all__ = ["class_probabilities", "classification_loss", "multilabel_soft_margin"]

from torch import Tensor
from torch.nn import functional

from attn.data.class_weights import ClassWeights
from attn.maps.checks import or_nan, refuse
from attn.maps.pairs import check_multi_hot


def classification_loss(
    logits_BC: Tensor, multi_hot_BC: Tensor, *, exclusive: bool, weights: ClassWeights | None = None
) -> Tensor:
    """Cross-entropy if classes are exclusive, otherwise multi-label soft margin; mean over images.

    Args:
        exclusive: Every image has exactly one class.
        weights: Of the classes. The mean is over the number of images, not over the sum of weights, so that the mean
            over workers is the value of the joint batch.

    Raises:
        ValueError: The shapes differ, the labels are not zeros and ones, or an image with exclusive classes does not
            have exactly one.
    """
    if not exclusive:
        return multilabel_soft_margin(logits_BC, multi_hot_BC, weights=weights)
    invalid = _check(logits_BC, multi_hot_BC)
    if logits_BC.numel() == 0:
        return logits_BC.sum()
    counts_B = multi_hot_BC.sum(dim=1)
    several = refuse(counts_B != 1, lambda: _not_exclusive(counts_B))
    classes_B = multi_hot_BC.argmax(dim=1)
    if weights is None:
        return or_nan(functional.cross_entropy(logits_BC, classes_B), invalid, several)
    losses_B = functional.cross_entropy(logits_BC, classes_B, reduction="none")
    return or_nan((losses_B * weights.of_images(multi_hot_BC)).mean(), invalid, several)


def class_probabilities(logits_BC: Tensor, *, exclusive: bool) -> Tensor:
    """(B, C) in [0, 1]: softmax if classes are exclusive, otherwise a sigmoid per class."""
    return logits_BC.softmax(dim=1) if exclusive else logits_BC.sigmoid()


def multilabel_soft_margin(logits_BC: Tensor, multi_hot_BC: Tensor, *, weights: ClassWeights | None = None) -> Tensor:
    """Binary cross-entropy of a sigmoid per class, mean over classes and images (L_cl of GAIN; OAA eq. 1).

    Args:
        weights: Of the classes; the mean is over the number of (image, class) pairs, not over the sum of weights.

    Raises:
        ValueError: The shapes differ, or the labels are not zeros and ones.
    """
    invalid = _check(logits_BC, multi_hot_BC)
    if logits_BC.numel() == 0:
        return logits_BC.sum()
    weights_BC = None if weights is None else weights.of_pairs(multi_hot_BC)
    labels_BC = multi_hot_BC.to(logits_BC.dtype)
    return or_nan(functional.binary_cross_entropy_with_logits(logits_BC, labels_BC, weight=weights_BC), invalid)


def _not_exclusive(counts_B: Tensor) -> str:
    row = int((counts_B != 1).nonzero()[0])
    return f"exclusive classes need exactly one class per image; image {row} has {int(counts_B[row])}"


def _check(logits_BC: Tensor, multi_hot_BC: Tensor) -> Tensor | None:
    if logits_BC.ndim != 2 or logits_BC.shape != multi_hot_BC.shape:
        shapes = f"{tuple(logits_BC.shape)} and {tuple(multi_hot_BC.shape)}"
        raise ValueError(f"logits and labels must both have the shape (B, C), not {shapes}")
    return check_multi_hot(multi_hot_BC)
