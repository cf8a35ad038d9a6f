"""The CRF within a training step: on spare cores, beside the network's work where that leaves cores idle.

Shapes: B images, C channels of the output, h×w output, H×W input.
"""

from __future__ import annotations

__all__ = ["Refinement", "Waiting"]

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from attn.data.transforms import InputConfig
from attn.errors import ConfigError
from attn.evaluation.crf import CrfConfig
from attn.models.normalization import normalizations
from attn.segmentation.crf_pool import CrfPool, Refined, refine
from attn.segmentation.grid import aligned

GPU_PARTS = 3


@dataclass(frozen=True)
class Waiting:
    """A batch's refined probabilities, on their way."""

    images: Sequence[Refined[Any]]
    device: torch.device

    def result(self) -> Tensor:
        """float32 (B, C, h, w), without a graph; waits until the last image is there."""
        return torch.from_numpy(np.stack([image.result() for image in self.images])).to(self.device)


class Refinement:
    """Sends a batch through the network, and its probabilities to the CRF as soon as they are known.

    Args:
        input: How the network's input was made of the images, so that their colours can be had back.
    """

    def __init__(self, input: InputConfig, pool: CrfPool) -> None:
        self.input, self.pool = input, pool

    def forward(
        self,
        model: Callable[..., Any],
        images_BCHW: Tensor,
        parameters: CrfConfig,
        *,
        overlap: int | None = None,
        probability_unary: bool = False,
    ) -> tuple[Tensor, Waiting]:
        """The logits of a batch, with their graph, and its CRFs, already begun.

        Args:
            overlap: In how many parts the batch goes through the network.
            probability_unary: The CRF's unary term is the probability itself, and not its logarithm.

        Raises:
            ConfigError: Batch normalisation would see the parts and not the batch.
        """
        device = images_BCHW.device
        parts = overlap or (GPU_PARTS if device.type == "cuda" else 1)
        parts = min(parts, len(images_BCHW))
        network: Any = getattr(model, "module", model)
        if parts > 1 and any(norm.training for norm in normalizations(network)):
            if overlap is not None:
                raise ConfigError(
                    f"method.overlap={overlap} would let batch normalisation see parts of the batch: "
                    "set method.overlap=1, or model.batch_norm=frozen"
                )
            parts = 1
        logits: list[Tensor] = []
        waiting: list[Refined[Any]] = []
        for images in images_BCHW.tensor_split(parts):
            # Distributed training's wrapper is passed by after the first part: its hooks are on the parameters.
            logits.append((network if logits else model)(images).logits.float())
            waiting += self._begin(images, logits[-1].detach(), parameters, probability_unary)
        return torch.cat(logits), Waiting(waiting, device)

    def _begin(
        self, images: Tensor, logits: Tensor, parameters: CrfConfig, probability_unary: bool
    ) -> list[Refined[Any]]:
        probs = logits.softmax(dim=1)
        if probability_unary:
            probs = probs.softmax(dim=1)  # whose negative logarithm is the probability's negative, but for a constant
        pixels = self._pixels(images, (logits.shape[2], logits.shape[3])).cpu().numpy()
        pairs = zip(pixels, probs.cpu().numpy(), strict=True)
        return [self.pool.submit(refine, image, found, parameters) for image, found in pairs]

    def _pixels(self, images_B3HW: Tensor, grid: tuple[int, int]) -> Tensor:
        """The images' colours at the output's positions: uint8 (B, h, w, 3)."""
        corners = aligned((images_B3HW.shape[2], images_B3HW.shape[3]), grid)
        small = functional.interpolate(images_B3HW, grid, mode="bilinear", align_corners=corners)
        std, mean = (small.new_tensor(values)[:, None, None] for values in (self.input.std, self.input.mean))
        return (255 * (small * std + mean)).round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous()
