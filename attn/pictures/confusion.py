"""Draws the maps of an image's classes and of its most confusing class, and their overlap (ICASC)."""

from __future__ import annotations

__all__ = ["confusion_panel", "confusion_sheet", "overlap_overlay"]

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from attn.evaluation.visual_confusion import LAYERS, ImageConfusion, image_confusion
from attn.pictures.layout import Picture, Tile, grid
from attn.pictures.overlay import outline, overlay

if TYPE_CHECKING:
    from torch import nn

    from attn.data.sample import Batch, Example
    from attn.maps import GradientMapKind

Pixels = NDArray[np.uint8]
# Nearly everyone can distinguish blue and orange; both together give white.
TARGET, OTHER = np.array([20, 120, 255], np.float32), np.array([255, 120, 0], np.float32)


def confusion_panel(
    network: nn.Module, batch: Batch, example: Example, classes: Sequence[str], *, kind: GradientMapKind
) -> Picture:
    """Draw one image: one row per layer with target map, confusing map and their overlap.

    Args:
        batch: A batch of this image only. If the image has no class, or all classes, only the image is drawn.
        example: The image in its own frame.
        classes: Names in the order of the logits.
    """
    found = list(image_confusion(network, batch, kind=kind))
    if not found:
        return grid([[Tile(example.image, batch.image_ids[0])]])
    return confusion_sheet({"": found}, [example], classes)


def confusion_sheet(
    networks: Mapping[str, Sequence[ImageConfusion]],
    examples: Sequence[Example],
    classes: Sequence[str],
    *,
    height: int = 150,
) -> Picture:
    """Draw several images for several networks: one row per image, network and layer.

    Args:
        networks: Results by the network's name, each with the same images in the order of the examples.
        examples: The images.
        classes: Names in the order of the logits.
        height: Height of the tiles in pixels.
    """
    rows: list[list[Tile | None]] = []
    names: list[str] = []
    for index, example in enumerate(examples):
        for number, (name, found) in enumerate(networks.items()):
            for layer in LAYERS:
                first = number == 0 and layer == LAYERS[0]
                rows.append(_row(found[index], example, classes, layer, first=first, captions=layer == LAYERS[0]))
                names.append(f"{name} {layer}".strip())
    return grid(rows, height=height, names=names)


def overlap_overlay(
    image: Pixels, target_HW: NDArray[Any], other_HW: NDArray[Any], truth: NDArray[np.bool_] | None = None
) -> Pixels:
    """Overlay two maps on the grey image: the target map in blue, the other in orange, their overlap in white.

    Args:
        target_HW: Map in [0, 1], at the image's size; `other_HW` likewise.
        truth: Mask of the target, drawn as an outline.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None].astype(np.float32)
    light = target_HW[..., None] * TARGET + other_HW[..., None] * OTHER
    strength = np.clip(np.maximum(target_HW, other_HW), 0, 1)[..., None]
    pixels = np.rint(np.clip((1 - 0.85 * strength) * 0.55 * grey + light, 0, 255)).astype(np.uint8)
    return pixels if truth is None else outline(pixels, truth)


def _row(
    found: ImageConfusion, example: Example, classes: Sequence[str], layer: str, *, first: bool, captions: bool
) -> list[Tile | None]:
    labels = found.record.labels
    truth = None if example.mask is None else np.isin(example.mask, [label + 1 for label in labels])
    target, other = found.target[layer], found.other[layer]
    likely = ", ".join(f"{found.probabilities[label]:.2f}" for label in labels)
    name = " + ".join(classes[label] for label in labels)
    return [
        Tile(example.image, found.record.image_id) if first else None,
        Tile(overlay(example.image, target, truth), *((name, likely) if captions else ())),
        Tile(
            overlay(example.image, other, truth),
            *((f"or {classes[found.confusing]}?", f"{found.probabilities[found.confusing]:.2f}") if captions else ()),
        ),
        Tile(
            overlap_overlay(example.image, target, other, truth),
            "both" if captions else "",
            f"{found.overlap[layer]:.2f}",
        ),
    ]
