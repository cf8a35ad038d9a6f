"""Weights of the classification loss that make up for classes of unequal frequency. Shapes: B images, C classes."""

from __future__ import annotations

__all__ = ["ClassWeights", "balanced_weights"]

from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class ClassWeights:
    """Weights (C,) by class.

    Attributes:
        present: Of an image with the class, in the binary cross-entropy of that class.
        absent: Of an image without it.
        exclusive: Of an image whose only class it is, in the cross-entropy of exclusive classes.
    """

    present: Tensor
    absent: Tensor
    exclusive: Tensor

    def of_pairs(self, multi_hot_BC: Tensor) -> Tensor:
        """(B, C), the weight of each image for each class."""
        return torch.where(multi_hot_BC > 0, self.present, self.absent)

    def of_images(self, multi_hot_BC: Tensor) -> Tensor:
        """(B,), the weight of each image by its only class."""
        return self.exclusive[multi_hot_BC.argmax(dim=1)]

    def to(self, device: torch.device) -> Self:
        """A copy on a device."""
        return type(self)(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})


def balanced_weights(counts_C: Tensor, images: int) -> ClassWeights:
    """Weights by which all classes count equally, and of each class the images with it as much as those without.

    With n_c of N images: N / (2 n_c) for an image with the class, N / (2 (N - n_c)) for one without; N / (K n_c) for
    exclusive classes, K being the number of classes with images. Over the data the mean weight is 1, so the learning
    rate keeps its meaning. A class that no image or every image has weighs 1, as there is nothing to balance.

    Args:
        counts_C: Number of images with each class.
        images: Number of images.
    """
    with_C = counts_C.double()
    without_C, both_C = images - with_C, (counts_C > 0) & (counts_C < images)
    one = torch.ones_like(with_C)
    kinds = max(1, int((counts_C > 0).sum()))
    return ClassWeights(
        present=torch.where(both_C, images / (2 * with_C.clamp(min=1)), one).float(),
        absent=torch.where(both_C, images / (2 * without_C.clamp(min=1)), one).float(),
        exclusive=torch.where(counts_C > 0, images / (kinds * with_C.clamp(min=1)), one).float(),
    )
