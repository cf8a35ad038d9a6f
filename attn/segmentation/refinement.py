"""The CRF within a training step: on spare cores, at the same time as the network's work.

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
from attn.maps.dense_crf import CrfConfig
from attn.models.host_copy import HostCopy
from attn.models.normalization import normalizations
from attn.segmentation.crf_pool import CrfPool, Refined, refine
from attn.segmentation.grid import aligned

GPU_PARTS = 3


@dataclass(frozen=True)
class Waiting:
    """A batch's refined probabilities, which are still being computed."""

    images: Sequence[Refined[Any]]

    def result(self) -> Tensor:
        """Wait for the last image; float32 (B, C, h, w) on the host, without a graph."""
        return torch.from_numpy(np.stack([image.result() for image in self.images]))


class Refinement:
    """Runs the network on a batch, and begins the CRFs of its images as soon as their probabilities are known.

    Args:
        input: How images became inputs; gives their colours back.
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
        """Run the network on a batch, and begin its CRFs; gives the logits with their graph.

        Args:
            overlap: Number of chunks in which the batch goes through the network.
            probability_unary: The CRF's unary term is the probability itself, and not its logarithm.

        Raises:
            ConfigError: Batch normalisation would see the chunks instead of the batch.
        """
        chunks = overlap or (GPU_PARTS if images_BCHW.is_cuda else 1)
        chunks = min(chunks, len(images_BCHW))
        network: Any = getattr(model, "module", model)
        if chunks > 1 and any(norm.training for norm in normalizations(network)):
            if overlap is not None:
                raise ConfigError(
                    f"method.overlap={overlap} would let batch normalisation see parts of the batch: "
                    "set method.overlap=1, or model.batch_norm=frozen"
                )
            chunks = 1
        logits: list[Tensor] = []
        waiting: list[Refined[Any]] = []
        for images in images_BCHW.tensor_split(chunks):
            # Only the first chunk goes through DDP's wrapper: its hooks are on the parameters.
            logits.append((network if logits else model)(images).logits.float())
            waiting += self._begin(images, logits[-1].detach(), parameters, probability_unary)
        return torch.cat(logits), Waiting(waiting)

    def _begin(
        self, images: Tensor, logits: Tensor, parameters: CrfConfig, probability_unary: bool
    ) -> list[Refined[Any]]:
        # The CRF runs on the host, which has to wait for what it starts from: once, as the colours arrive before.
        pixels = HostCopy(self._pixels(images, (logits.shape[2], logits.shape[3])))
        probs = logits.softmax(dim=1)
        if probability_unary:
            probs = probs.softmax(dim=1)  # whose negative logarithm is the probability's negative, but for a constant
        started = HostCopy(probs).read().numpy()
        pairs = zip(pixels.read().numpy(), started, strict=True)
        return [self.pool.submit(refine, image, item, parameters) for image, item in pairs]

    def _pixels(self, images_B3HW: Tensor, grid: tuple[int, int]) -> Tensor:
        """The images' colours at the output's positions: uint8 (B, h, w, 3)."""
        corners = aligned((images_B3HW.shape[2], images_B3HW.shape[3]), grid)
        small = functional.interpolate(images_B3HW, grid, mode="bilinear", align_corners=corners)
        scales = torch.tensor([self.input.std, self.input.mean], dtype=small.dtype)[..., None, None]
        std, mean = scales.to(small.device, non_blocking=True)
        return (255 * (small * std + mean)).round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous()
