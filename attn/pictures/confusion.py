"""Draws the maps of an image's classes and of its most confusing class, and their overlap (ICASC)."""

from __future__ import annotations

__all__ = ["confusion_panel", "confusion_rows", "confusion_sheet", "overlap_overlay"]

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from attn.display import percent
from attn.evaluation.visual_confusion import LAYERS, ImageConfusion, image_confusion
from attn.pictures.layout import Picture, Tile, fitting_height, grid, nearest, resized
from attn.pictures.legend import SIZE, Entry, line_entry, map_entry, swatch, with_legend
from attn.pictures.overlay import outline, overlay
from attn.pictures.text import class_names

if TYPE_CHECKING:
    from torch import nn

    from attn.data.sample import Batch, Example
    from attn.maps import GradientMapKind

Pixels = NDArray[np.uint8]
# Nearly everyone can distinguish blue and orange; both together give white.
TARGET, OTHER = np.array([20, 120, 255], np.float32), np.array([255, 120, 0], np.float32)
LOWEST, CAPTION, TALLEST = 80, 26, 800
"""Of an overview, in pixels: least height of a tile, what a caption adds, and height that it keeps to if it can."""


def confusion_panel(
    network: nn.Module, batch: Batch, example: Example, classes: Sequence[str], *, kind: GradientMapKind
) -> Picture:
    """Draw one image of one network, as `confusion_rows`.

    Args:
        batch: A batch of this image only. If the image has no class, or all classes, only the image is drawn.
        example: The image in its own frame.
        classes: Names in the order of the logits.
    """
    results = list(image_confusion(network, batch, kind=kind))
    if not results:
        return grid([[Tile.of_image(example.image, example.record.title)]])
    return confusion_rows({"": results[0]}, example, classes)


def confusion_rows(
    networks: Mapping[str, ImageConfusion], example: Example, classes: Sequence[str], *, height: int = 150
) -> Picture:
    """Draw one image in full: a row per network with, for each layer, both maps and their overlap.

    Args:
        networks: The image's result by the network's name.
        classes: Names in the order of the logits.
        height: Largest height of the tiles in pixels.
    """
    height = fitting_height([example.image], 1 + 3 * len(LAYERS), height)
    names = class_names(classes)
    image = resized(example.image, height)
    rows: list[list[Tile | None]] = []
    for number, item in enumerate(networks.values()):
        truth = _truth(example, item, height)
        labels = ", ".join(_percent(item.probabilities[label]) for label in item.record.labels)
        row: list[Tile | None] = [None if number else Tile.of_image(image, example.record.title)]
        for layer in LAYERS:
            target, other = (resized(values[layer], height) for values in (item.target, item.other))
            likely = _percent(item.probabilities[item.confusing])
            row += [
                Tile(overlay(image, target, truth), _named(item.record.labels, names), labels),
                Tile(overlay(image, other, truth), names[item.confusing], likely),
                Tile(overlap_overlay(image, target, other, truth), "overlap", _percent(item.overlap[layer])),
            ]
        rows.append(row)
    heads = ["image", *(head for layer in LAYERS for head in (f"{layer} layer", "", ""))]
    drawn = grid(rows, height=height, names=list(networks) if any(networks) else [], groups=[1, 4], heads=heads)
    note = "of each layer: the image's class, the class it is confused with, with their probabilities; overlap of both"
    return with_legend(drawn, [map_entry(), *_entries(example.mask is not None)], note)


def confusion_sheet(
    networks: Mapping[str, Sequence[ImageConfusion]],
    examples: Sequence[Example],
    classes: Sequence[str],
    *,
    height: int = 150,
) -> Picture:
    """An overview of several images that fits on a screen: a row per network, and where both maps lie at each layer.

    Args:
        networks: Results by the network's name, each with the same images in the order of the examples.
        examples: The images.
        classes: Names in the order of the logits.
        height: Largest height of the tiles in pixels; smaller ones are drawn where the picture would be too tall.
    """
    names = class_names(classes)
    columns = 1 + len(LAYERS)
    images = [example.image for example in examples]
    beside = 1
    while beside < len(examples) and _overview_height(images, beside, len(networks), height) > TALLEST:
        if fitting_height(images, (beside + 1) * columns, height) < LOWEST:
            break
        beside += 1
    tile = fitting_height(images, beside * columns, height)
    rows: list[list[Tile | None]] = []
    titles: list[str] = []
    for start in range(0, len(examples), beside):
        chunk = range(start, min(start + beside, len(examples)))
        for number, (title, item) in enumerate(networks.items()):
            drawn = [_overview(item[index], examples[index], names, tile, number) for index in chunk]
            rows.append([one for tiles in drawn for one in tiles])
            titles.append(title)
    heads = ["image", *(f"{layer} layer" for layer in LAYERS)] * beside
    groups = [columns * number for number in range(beside)]
    sheet = grid(rows, height=tile, names=titles, groups=groups, heads=heads)
    note = (
        "above an image: its class; above its maps: the class it is confused with, and both maps' overlap at each layer"
    )
    return with_legend(sheet, _entries(any(example.mask is not None for example in examples)), note)


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


def _overview_height(images: Sequence[Pixels], beside: int, networks: int, height: int) -> int:
    rows = -(-len(images) // beside) * networks
    return rows * (fitting_height(images, beside * (1 + len(LAYERS)), height) + CAPTION)


def _overview(
    confusion: ImageConfusion, example: Example, names: Sequence[str], height: int, number: int
) -> list[Tile | None]:
    """An image's tiles in the row of one network: the image in the first network's row, then a tile a layer."""
    image, truth = resized(example.image, height), _truth(example, confusion, height)
    tiles: list[Tile | None] = [None if number else Tile(image, _named(confusion.record.labels, names))]
    caption, overlaps = (
        names[confusion.confusing],
        ", ".join(percent(confusion.overlap[layer]) for layer in LAYERS) + " %",
    )
    for layer in LAYERS:
        target, other = (resized(values[layer], height) for values in (confusion.target, confusion.other))
        both = overlap_overlay(image, target, other, truth)
        tiles.append(Tile(both, caption, overlaps, span=len(LAYERS)) if layer == LAYERS[0] else Tile(both))
    return tiles


def _percent(share: float) -> str:
    return f"{percent(share)} %"


def _named(labels: Sequence[int], names: Sequence[str]) -> str:
    return " + ".join(names[label] for label in labels)


def _truth(example: Example, confusion: ImageConfusion, height: int) -> NDArray[np.bool_] | None:
    if example.mask is None:
        return None
    region = np.isin(example.mask, [label + 1 for label in confusion.record.labels])
    return nearest(region.astype(np.uint8), example.image, height) > 0


def _entries(masked: bool) -> list[Entry]:
    colors = [
        Entry(np.rint(np.linspace(0.2, 1, 32)[None, :, None] * color).astype(np.uint8).repeat(SIZE, 0), text)
        for color, text in ((TARGET, "attention to the class"), (OTHER, "to the class it is confused with"))
    ]
    both = Entry(swatch((255, 240, 255)), "to both")
    return [*colors, both, *([line_entry("outline: the object")] if masked else [])]
