"""What a network takes each image for besides what it is, and how much of both it sees at the same places (ICASC).

Shapes: B images, N images that have a class and lack one, C classes, h×w feature map, H×W image.
"""

from __future__ import annotations

__all__ = ["LAYERS", "ImageConfusion", "image_confusion"]

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from attn.data.sample import Batch, Record
from attn.evaluation.inference import evaluating
from attn.losses.classification import class_probabilities
from attn.losses.confusion import soft_iou, target_mask
from attn.losses.confusion_maps import confusion_maps
from attn.maps.class_maps import normalize_max, upsample
from attn.maps.combined import GradientMapKind

LAYERS = ("inner", "last")


@dataclass(frozen=True)
class ImageConfusion:
    """One image's target, the class that it is most easily mistaken for, and both maps at two layers.

    Attributes:
        confusing: The absent class of the highest score.
        probabilities: float64 (C,).
        overlap: By layer, the soft IoU of the maps where the target is (ICASC eq. 6, 7), in [0, 1].
        target, other: By layer, float32 (H, W) in [0, 1] at the image's size, each divided by its own maximum there:
            the map of all of the image's classes, and that of the confusing one.
    """

    record: Record
    confusing: int
    probabilities: NDArray[np.float64]
    overlap: dict[str, float]
    target: dict[str, NDArray[np.float32]]
    other: dict[str, NDArray[np.float32]]


def image_confusion(network: nn.Module, batch: Batch, *, kind: GradientMapKind) -> Iterator[ImageConfusion]:
    """Run the network, in evaluation mode, and compare the maps of each image that has a class and lacks one.

    Args:
        network: Exposes the layer `inner`.

    Raises:
        ConfigError: It does not.
    """
    with evaluating(network), torch.enable_grad():
        # A frozen network builds no graph of its own accord.
        output = network(batch.images.detach().clone().requires_grad_())
        maps = confusion_maps(output, batch.labels, kind=kind, layers=LAYERS)
        probabilities_BC = class_probabilities(output.logits.detach().double(), exclusive=batch.exclusive)
    target, other = (
        {layer: value.detach().float() for layer, value in found.items()} for found in (maps.target, maps.other)
    )
    seen_Nhw = target_mask(normalize_max(target["last"]))
    masks = {layer: upsample(seen_Nhw, (value.shape[1], value.shape[2])).clamp(0, 1) for layer, value in target.items()}
    known = probabilities_BC.cpu().numpy()
    for place, row in enumerate(maps.rows.tolist()):
        one = slice(place, place + 1)
        yield ImageConfusion(
            record=batch.records[row],
            confusing=int(maps.confusing[place]),
            probabilities=known[row],
            overlap={
                layer: float(soft_iou(target[layer][one], other[layer][one], masks[layer][one])) for layer in LAYERS
            },
            target={layer: _in_image(batch, row, target[layer][one]) for layer in LAYERS},
            other={layer: _in_image(batch, row, other[layer][one]) for layer in LAYERS},
        )


def _in_image(batch: Batch, row: int, map_1hw: Tensor) -> NDArray[np.float32]:
    in_image, _ = batch.geometry[row].to_image(map_1hw)
    return normalize_max(in_image)[0].cpu().numpy()
