"""The size of a network's class maps, asked of its shapes alone: no weights, no arithmetic."""

from __future__ import annotations

__all__ = ["MapSize"]

import torch

from attn.models.network import ModelConfig, Network
from attn.models.shapes import shapes_only


class MapSize:
    """(h, w) of a feature layer for an input of (H, W).

    It pickles as the model's config; every process builds its own network of shapes when it is first asked.
    """

    def __init__(self, model: ModelConfig, layer: str = "last") -> None:
        self.model, self.layer = model, layer
        self._known: dict[tuple[int, int], tuple[int, int]] = {}
        self._network: Network | None = None

    def __call__(self, size: tuple[int, int]) -> tuple[int, int]:
        if size not in self._known:
            with shapes_only():
                features = self._shapes().features(torch.empty(1, 3, *size))[self.layer]
            self._known[size] = (features.shape[2], features.shape[3])
        return self._known[size]

    def __reduce__(self) -> tuple[type[MapSize], tuple[ModelConfig, str]]:
        return MapSize, (self.model, self.layer)

    def _shapes(self) -> Network:
        if self._network is None:
            self._network = Network(self.model, 1, (self.layer,)).requires_grad_(False).eval()
        return self._network
