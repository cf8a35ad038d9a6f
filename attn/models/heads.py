"""Heads: from the last stage's features to class scores. Shapes: B images, C classes, K channels, h×w feature map.

A head returns the features of the layer `last`, the logits and, if it has them, class maps and the weight of the only
linear layer above those features. New layers are initialised with N(0, 0.01) and zero bias (OAA).
"""

from __future__ import annotations

__all__ = ["ClassAware", "FullyConnected", "Head", "PooledLinear", "Scores"]

from abc import ABC, abstractmethod
from collections import OrderedDict
from typing import NamedTuple, TypeVar

from torch import Tensor, nn
from torch.nn import functional

Layer = TypeVar("Layer", nn.Linear, nn.Conv2d)


class Scores(NamedTuple):
    """The output of a head for features (B, K, h, w); see `Output`."""

    features: Tensor
    logits: Tensor
    class_maps: Tensor | None = None
    linear_weight: Tensor | None = None


class Head(nn.Module, ABC):
    """Base of the heads.

    Attributes:
        new: Names of the children that always start untrained.
        channels: Channels of the features that `before` returns.
        classifier: The last layer, with C rows.
    """

    new: tuple[str, ...] = ("classifier",)
    channels: int
    classifier: nn.Linear | nn.Conv2d

    def before(self, features_BKhw: Tensor) -> Tensor:
        """The features of the layer `last`: those of the last convolution before classification."""
        return features_BKhw

    @abstractmethod
    def score(self, features_BKhw: Tensor) -> Scores:
        """Classify the features that `before` returned."""


class PooledLinear(Head):
    """Global average pooling and one linear layer."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.channels = channels
        self.classifier = _start(nn.Linear(channels, classes))

    def score(self, features_BKhw: Tensor) -> Scores:
        logits = self.classifier(features_BKhw.mean(dim=(2, 3)))
        return Scores(features_BKhw, logits, linear_weight=self.classifier.weight)


class ClassAware(Head):
    """3×3 convolutions with ReLU, a 1×1 convolution to C class maps, global average pooling (OAA eq. 1)."""

    new = ("convolutions", "classifier")

    def __init__(self, channels: int, classes: int, *, convolutions: int, width: int) -> None:
        super().__init__()
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for number in range(1, convolutions + 1):
            layers[f"conv{number}"] = _start(nn.Conv2d(channels, width, 3, padding=1))
            layers[f"relu{number}"] = nn.ReLU(inplace=True)
            channels = width
        self.channels = channels
        self.convolutions = nn.Sequential(layers)
        self.classifier = _start(nn.Conv2d(channels, classes, 1))

    def before(self, features_BKhw: Tensor) -> Tensor:
        return self.convolutions(features_BKhw)

    def score(self, features_BKhw: Tensor) -> Scores:
        class_maps = self.classifier(features_BKhw)
        weight = self.classifier.weight[:, :, 0, 0]
        return Scores(features_BKhw, class_maps.mean(dim=(2, 3)), class_maps, weight)


class FullyConnected(Head):
    """VGG's head: fifth pooling, adaptive pooling to 7×7, fc6, fc7, linear layer."""

    def __init__(self, channels: int, classes: int, *, width: int, dropout: float) -> None:
        super().__init__()
        self.channels, self.dropout = channels, dropout
        self.fc6 = _start(nn.Linear(channels * 49, width))
        self.fc7 = _start(nn.Linear(width, width))
        self.classifier = _start(nn.Linear(width, classes))

    def score(self, features_BKhw: Tensor) -> Scores:
        pooled = functional.adaptive_avg_pool2d(functional.max_pool2d(features_BKhw, 2), 7)
        hidden = self._drop(functional.relu(self.fc6(pooled.flatten(1))))
        hidden = self._drop(functional.relu(self.fc7(hidden)))
        return Scores(features_BKhw, self.classifier(hidden))

    def _drop(self, hidden: Tensor) -> Tensor:
        return functional.dropout(hidden, self.dropout, self.training)


def _start(layer: Layer) -> Layer:
    nn.init.normal_(layer.weight, std=0.01)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
