"""The size of a network's maps, computed without weights and without arithmetic."""

from __future__ import annotations

__all__ = ["MapSize"]

import torch

from attn.models.network import ModelConfig, Network
from attn.models.shapes import shapes_only


class MapSize:
    """Computes the size (h, w) of a feature layer for an input of size (H, W).

    It is pickled as the model's config; each process builds its own network, without weights, on first use.
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
