"""From images to masks: several scales and mirrored inputs, averaged at the image's size, then the dense CRF.

Shapes: C channels, of which 0 is the background, H0×W0 image, H×W input.
"""

from __future__ import annotations

__all__ = ["InferenceConfig", "Prediction", "predict", "probabilities"]

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat
from torch import Tensor

from attn.config.base import Config
from attn.data.geometry import Geometry
from attn.data.sample import Example
from attn.data.transforms import InputConfig, to_input
from attn.evaluation.crf import SEC_CRF, CrfConfig
from attn.evaluation.inference import evaluating
from attn.segmentation.crf_pool import CrfPool, LocalCrfPool, Refined, refine_mask
from attn.segmentation.grid import upsample_scores
from attn.segmentation.networks import SegmentationNetwork

Mask = NDArray[np.uint8]


class InferenceConfig(Config):
    """How a network's scores become a mask.

    Attributes:
        size: What an image is at scale 1: `input`, squashed to the network's training input, whatever its aspect;
            `image`, its own size; a number, that long side. Sides are rounded so that the output's corners stay where
            they were in training.
        scales: Of which the probabilities are averaged.
        flip: Average over mirrored inputs too.
        crf: The CRF at the image's size; None leaves it out.
    """

    size: Literal["input", "image"] | Annotated[int, Field(ge=1, le=8192)] = "input"
    scales: Annotated[tuple[PositiveFloat, ...], Field(min_length=1, strict=False)] = (1.0,)
    flip: bool = False
    crf: CrfConfig | None = SEC_CRF

    @property
    def words(self) -> str:
        """What an image is at scale 1, for a protocol."""
        return f"long side {self.size}" if isinstance(self.size, int) else f"{self.size} size"


@dataclass(frozen=True)
class Prediction:
    """What was made of one image.

    Attributes:
        plain: Without the CRF.
        refined: With it; the same where there is none.
    """

    example: Example
    plain: Mask
    refined: Mask


def predict(
    network: SegmentationNetwork,
    examples: Iterable[Example],
    input: InputConfig,
    config: InferenceConfig,
    *,
    pool: CrfPool | None = None,
    restrict: bool = False,
) -> Iterator[Prediction]:
    """Masks of images, in their order; the CRFs of some images run while the network sees the next.

    Args:
        pool: Computes the CRFs; without one this process does.
        restrict: Allow an image only its own labels, as for images to train on.
    """
    pool = pool or LocalCrfPool(0)
    waiting: deque[tuple[Example, Mask, Refined[Any] | None]] = deque()
    with evaluating(network):
        for example in examples:
            probs = probabilities(network, example.image, input, config)
            if restrict:
                probs = _restricted(probs, example.record.labels)
            probs_CHW = probs.cpu().numpy()
            plain = probs_CHW.argmax(0).astype(np.uint8)
            refined = pool.submit(refine_mask, example.image, probs_CHW, config.crf) if config.crf else None
            waiting.append((example, plain, refined))
            while len(waiting) > 2 * pool.size:
                yield _finished(*waiting.popleft())
        while waiting:
            yield _finished(*waiting.popleft())


@torch.no_grad()
def probabilities(
    network: SegmentationNetwork, image_HW3: NDArray[np.uint8], input: InputConfig, config: InferenceConfig
) -> Tensor:
    """Mean of the softmax over scales and mirrored inputs, at the image's size: float32 (C, H0, W0)."""
    size = (image_HW3.shape[0], image_HW3.shape[1])
    device = next(network.parameters()).device
    total = torch.zeros((network.num_classes + 1, *size), device=device)
    for scale in config.scales:
        geometry = Geometry.whole(size, _input_size(size, input, config, scale, network))
        image = to_input(input, image_HW3, geometry).to(device)
        views = torch.stack([image, image.flip(-1)]) if config.flip else image[None]
        scores = network(views.contiguous(memory_format=torch.channels_last)).logits.float()
        if config.flip:
            scores = torch.stack([scores[0], scores[1].flip(-1)])
        total += upsample_scores(scores, size, geometry.size).softmax(dim=1).mean(dim=0)
    return total / len(config.scales)


def _input_size(
    image: tuple[int, int], input: InputConfig, config: InferenceConfig, scale: float, network: SegmentationNetwork
) -> tuple[int, int]:
    """Height and width of the input: what is left over beyond whole strides is the same as in training.

    A side that is too small for the network becomes the least that is not.
    """
    stride = network.config.stride
    trained = (input.size, input.size) if isinstance(input.size, int) else input.size
    if config.size == "input":
        wanted = (trained[0] * scale, trained[1] * scale)
    else:
        longest = max(image) if config.size == "image" else config.size
        wanted = (image[0] * longest / max(image) * scale, image[1] * longest / max(image) * scale)
    sides = [
        max(round((side - rest) / stride), 1, -((rest - network.least_side) // stride)) * stride + rest
        for side, rest in zip(wanted, (side % stride for side in trained), strict=True)
    ]
    return (sides[0], sides[1])


def _restricted(probs_CHW: Tensor, labels: tuple[int, ...]) -> Tensor:
    """Probabilities of the background and the labels alone, summing to 1 again."""
    allowed = torch.zeros(len(probs_CHW), 1, 1, device=probs_CHW.device)
    allowed[[0, *(label + 1 for label in labels)]] = 1
    kept = probs_CHW * allowed
    return kept / kept.sum(dim=0, keepdim=True).clamp_min(torch.finfo(kept.dtype).tiny)


def _finished(example: Example, plain: Mask, refined: Refined[Any] | None) -> Prediction:
    return Prediction(example, plain, plain if refined is None else refined.result())
