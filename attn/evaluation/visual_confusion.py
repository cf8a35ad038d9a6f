"""Visual confusion of a trained network: overlap of the maps of each image's classes and of its most confusing class.

ICASC, eq. 6 and 7. Shapes: B images, N images with at least one present and one absent class, C classes, h×w feature
map, H×W image.
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
    """Target map and confusing map of one image at two layers.

    Attributes:
        confusing: The absent class of the highest score.
        probabilities: float64 (C,).
        overlap: By layer, the soft IoU of the two maps within the target (ICASC eq. 6 and 7), in [0, 1].
        target, other: By layer, float32 (H, W) in [0, 1] at the image's size, each divided by its own maximum: the map
            of the image's classes, and the map of the confusing class.
    """

    record: Record
    confusing: int
    probabilities: NDArray[np.float64]
    overlap: dict[str, float]
    target: dict[str, NDArray[np.float32]]
    other: dict[str, NDArray[np.float32]]


def image_confusion(network: nn.Module, batch: Batch, *, kind: GradientMapKind) -> Iterator[ImageConfusion]:
    """Run the network in evaluation mode, and yield the result of each image with a present and an absent class.

    Args:
        network: A network that exposes the layer `inner`.

    Raises:
        ConfigError: The network does not expose it.
    """
    with evaluating(network), torch.enable_grad():
        # With all parameters frozen, only an input that requires gradients gives a graph.
        output = network(batch.images.detach().clone().requires_grad_())
        maps = confusion_maps(output, batch.labels, kind=kind, layers=LAYERS)
        probabilities_BC = class_probabilities(output.logits.detach().double(), exclusive=batch.exclusive)
    target, other = (
        {layer: value.detach().float() for layer, value in item.items()} for item in (maps.target, maps.other)
    )
    mask_Nhw = target_mask(normalize_max(target["last"]))
    masks = {layer: upsample(mask_Nhw, (value.shape[1], value.shape[2])).clamp(0, 1) for layer, value in target.items()}
    probabilities = probabilities_BC.cpu().numpy()
    for index, row in enumerate(maps.rows.tolist()):
        one = slice(index, index + 1)
        yield ImageConfusion(
            record=batch.records[row],
            confusing=int(maps.confusing[index]),
            probabilities=probabilities[row],
            overlap={
                layer: float(soft_iou(target[layer][one], other[layer][one], masks[layer][one])) for layer in LAYERS
            },
            target={layer: _in_image(batch, row, target[layer][one]) for layer in LAYERS},
            other={layer: _in_image(batch, row, other[layer][one]) for layer in LAYERS},
        )


def _in_image(batch: Batch, row: int, map_1hw: Tensor) -> NDArray[np.float32]:
    in_image, _ = batch.geometry[row].to_image(map_1hw)
    return normalize_max(in_image)[0].cpu().numpy()
