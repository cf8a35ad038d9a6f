"""From images to masks: scores of several scales and mirrored inputs, averaged at the image's size, then the dense CRF.

Shapes: C channels, of which 0 is the background, H0×W0 image, H×W input.
"""

from __future__ import annotations

__all__ = [
    "ImageScores",
    "SegmentInferenceConfig",
    "Prediction",
    "predict",
    "probabilities",
    "score_image",
    "score_images",
]

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
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
from attn.evaluation.inference import evaluating, strips
from attn.maps.dense_crf import SEC_CRF, CrfConfig
from attn.segmentation.crf_pool import CrfPool, LocalCrfPool, Refined, refine_mask
from attn.segmentation.grid import upsample_scores
from attn.segmentation.networks import SegmentationNetwork

AT_ONCE = 1 << 22
"""Pixels of the inputs that go through a network together; an input that has more goes alone."""

Mask = NDArray[np.uint8]


class SegmentInferenceConfig(Config):
    """Rule that makes a mask of a network's scores.

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

    def sufficient_side(self, input: InputConfig) -> int | None:
        """Pixels of an image's short side with which scores are as good as with more; None where each pixel counts."""
        if self.size == "image":
            return None
        trained = input.size if isinstance(input.size, int) else max(input.size)
        return math.ceil(2 * max(self.scales) * (trained if self.size == "input" else self.size))

    def describe(self) -> str:
        """The size of an image at scale 1, for a protocol."""
        return f"long side {self.size}" if isinstance(self.size, int) else f"{self.size} size"


@dataclass(frozen=True)
class Prediction:
    """The masks of one image.

    Attributes:
        plain: The mask without the CRF.
        refined: The mask with it; equal to `plain` without a CRF.
    """

    example: Example
    plain: Mask
    refined: Mask


def predict(
    network: SegmentationNetwork,
    examples: Iterable[Example],
    input: InputConfig,
    config: SegmentInferenceConfig,
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
            scores = score_image(network, example.image, input, config)
            labels = example.record.labels if restrict else None
            if config.crf is None:
                waiting.append((example, scores.mask(labels), None))
            else:
                probs_CHW = scores.restricted(slice(0, scores.size[0]), labels).cpu().numpy()
                plain = probs_CHW.argmax(0).astype(np.uint8)
                waiting.append((example, plain, pool.submit(refine_mask, example.image, probs_CHW, config.crf)))
            while len(waiting) > 2 * pool.size:
                yield _finished(*waiting.popleft())
        while waiting:
            yield _finished(*waiting.popleft())


@dataclass(frozen=True)
class ImageScores:
    """A network's scores of one image, kept at the output's size and resized to the image some rows at a time.

    Attributes:
        views: By scale, the scores (B, C, h, w) of the image and its mirror image, and the size of the input.
        size: (H0, W0) of the image.
    """

    views: tuple[tuple[Tensor, tuple[int, int]], ...]
    size: tuple[int, int]

    @property
    def channels(self) -> int:
        return self.views[0][0].shape[1]

    def rows(self, rows: slice) -> Tensor:
        """Mean of the softmax over scales and mirrored inputs, float32 (C, rows, W0)."""
        total = torch.zeros(())
        for scores, input_size in self.views:
            total = total.to(scores) + upsample_scores(scores, self.size, input_size, rows).softmax(dim=1).mean(dim=0)
        return total / len(self.views)

    def restricted(self, rows: slice, labels: Sequence[int] | None) -> Tensor:
        """As `rows`, where an image may have some classes only; None: any."""
        return self.rows(rows) if labels is None else _restricted(self.rows(rows), labels)

    def mask(self, labels: Sequence[int] | None) -> Mask:
        """The most probable class of each pixel, uint8 (H0, W0)."""
        mask = np.empty(self.size, np.uint8)
        for rows in strips(self.size, self.channels):
            mask[rows] = self.restricted(rows, labels).argmax(dim=0).cpu().numpy()
        return mask


def score_image(
    network: SegmentationNetwork,
    image_HW3: NDArray[np.uint8],
    input: InputConfig,
    config: SegmentInferenceConfig,
    size: tuple[int, int] | None = None,
) -> ImageScores:
    """Run a network on an image, in evaluation mode.

    Args:
        size: (H0, W0) of the image, where the pixels given are a reduced one's.
    """
    return score_images(network, [(image_HW3, size)], input, config)[0]


@torch.no_grad()
def score_images(
    network: SegmentationNetwork,
    images: Sequence[tuple[NDArray[np.uint8], tuple[int, int] | None]],
    input: InputConfig,
    config: SegmentInferenceConfig,
) -> list[ImageScores]:
    """Run a network on images, in evaluation mode; inputs of one size go through it together, as far as memory allows.

    Args:
        images: As `score_image` takes them: pixels and size.
    """
    heres = [(image.shape[0], image.shape[1]) for image, _ in images]
    sizes = [size or here for here, (_, size) in zip(heres, images, strict=True)]
    views: list[list[tuple[Tensor, tuple[int, int]]]] = [[] for _ in images]
    for scale in config.scales:
        by_size: dict[tuple[int, int], list[int]] = {}
        for position, size in enumerate(sizes):
            by_size.setdefault(_input_size(size, input, config, scale, network), []).append(position)
        for (height, width), positions in by_size.items():
            at_once = max(1, AT_ONCE // (height * width))
            for first in range(0, len(positions), at_once):
                some = positions[first : first + at_once]
                inputs: list[Tensor] = []
                for position in some:
                    geometry = Geometry.whole(heres[position], (height, width))
                    inputs.append(to_input(input, images[position][0], geometry))
                for position, scores in zip(some, _scores(network, torch.stack(inputs), config.flip), strict=True):
                    views[position].append((scores, (height, width)))
    return [ImageScores(tuple(of_image), size) for of_image, size in zip(views, sizes, strict=True)]


def _scores(network: SegmentationNetwork, images_B3HW: Tensor, flip: bool) -> Sequence[Tensor]:
    """The scores (1 or 2, C, h, w) of each image and, with `flip`, of its mirror image, mirrored back."""
    images = images_B3HW.to(next(network.parameters()).device)
    both = torch.cat([images, images.flip(-1)]) if flip else images
    scores = network(both.contiguous(memory_format=torch.channels_last)).logits.float()
    if not flip:
        return scores.split(1)
    plain, mirrored = scores.chunk(2)
    return torch.stack([plain, mirrored.flip(-1)], 1).unbind()


def probabilities(
    network: SegmentationNetwork, image_HW3: NDArray[np.uint8], input: InputConfig, config: SegmentInferenceConfig
) -> Tensor:
    """Mean of the softmax over scales and mirrored inputs, at the image's size: float32 (C, H0, W0)."""
    scores = score_image(network, image_HW3, input, config)
    return scores.rows(slice(0, scores.size[0]))


def _input_size(
    image: tuple[int, int],
    input: InputConfig,
    config: SegmentInferenceConfig,
    scale: float,
    network: SegmentationNetwork,
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


def _restricted(probs_CHW: Tensor, labels: Sequence[int]) -> Tensor:
    """Probabilities of the background and the labels alone, summing to 1 again."""
    allowed = torch.zeros(len(probs_CHW), 1, 1, device=probs_CHW.device)
    allowed[[0, *(label + 1 for label in labels)]] = 1
    kept = probs_CHW * allowed
    return kept / kept.sum(dim=0, keepdim=True).clamp_min(torch.finfo(kept.dtype).tiny)


def _finished(example: Example, plain: Mask, refined: Refined[Any] | None) -> Prediction:
    return Prediction(example, plain, plain if refined is None else refined.result())
