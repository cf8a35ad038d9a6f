"""Regions of an image from boxes or masks, one per present class."""

from __future__ import annotations

__all__ = ["box_regions", "boxes_of", "mask_regions"]

from collections.abc import Sequence

import cv2
import numpy as np

from attn.data.sample import Box, Example


def boxes_of(example: Example) -> tuple[tuple[int, Box], ...]:
    """The image's boxes: those of its record, else one around each 8-connected component of each class of its mask.

    Raises:
        DataError: The record has boxes, but they are invalid.
    """
    if example.boxes_fault is not None:
        raise example.boxes_fault
    if example.record.boxes or example.mask is None:
        return example.record.boxes
    results: list[tuple[int, Box]] = []
    for label in example.record.labels:
        piece = (example.mask == label + 1).astype(np.uint8)
        _, _, stats, _ = cv2.connectedComponentsWithStats(piece, connectivity=8)
        for left, top, width, height, _ in stats[1:].tolist():
            results.append((label, (float(left), float(top), float(left + width), float(top + height))))
    return tuple(results)


def mask_regions(mask_HW: np.ndarray, labels: Sequence[int]) -> np.ndarray:
    """uint8 (n, H0, W0): for each label 1 where the mask has it."""
    return np.stack([(mask_HW == label + 1).astype(np.uint8) for label in labels])


def box_regions(boxes: Sequence[tuple[int, Box]], labels: Sequence[int], size: tuple[int, int]) -> np.ndarray:
    """uint8 (n, H0, W0): for each label 1 inside its boxes, rounded to whole pixels."""
    regions = np.zeros((len(labels), *size), np.uint8)
    for label, (left, top, right, bottom) in boxes:
        if label in labels:
            rows = slice(max(0, round(top)), max(0, round(bottom)))
            columns = slice(max(0, round(left)), max(0, round(right)))
            regions[labels.index(label), rows, columns] = 1
    return regions
