"""Seeds that grow over confident pixels (DSRG: Huang et al., CVPR 2018). Shapes: C channels, 0 the background, h×w."""

from __future__ import annotations

__all__ = ["grow_seeds"]

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

IGNORE = 255


def grow_seeds(
    cues_hw: NDArray[Any],
    probs_Chw: NDArray[Any],
    labels_C: NDArray[Any],
    *,
    foreground: float = 0.85,
    background: float = 0.99,
) -> NDArray[np.uint8]:
    """Add to each class's cues the confident pixels that are connected to them.

    A pixel is confident of the most probable among the background and the image's own classes, where that probability
    exceeds the class's threshold. Confident pixels and cues of a class that touch, corners included, form components;
    those that hold a cue become cues. A cue keeps its label, and no component of another class goes through it.

    Args:
        cues_hw: Channel indices, 255 where there is no cue.
        probs_Chw: In [0, 1].
        labels_C: 0/1 over the classes: of C - 1 without the background, or of C with a first place that is not read.

    Returns:
        uint8 (h, w), like `cues_hw`; every cue is still there.

    Raises:
        ValueError: If the shapes do not fit, a cue is no channel, or a value leaves its range.
    """
    cues, probs, labels = np.asarray(cues_hw), np.asarray(probs_Chw), np.asarray(labels_C)
    _check(cues, probs, labels)
    present = labels[-(len(probs) - 1) :] != 0
    allowed = np.flatnonzero(np.concatenate([[True], present]))
    restricted = probs[allowed]
    best = allowed[restricted.argmax(0)]
    thresholds = np.where(best == 0, background, foreground)
    free = cues == IGNORE
    label = np.where(free & (restricted.max(0) > thresholds), best, cues)
    grown = cues.astype(np.uint8)
    for channel in np.unique(cues[~free]):
        _, components = cv2.connectedComponents((label == channel).astype(np.uint8), connectivity=8, ltype=cv2.CV_32S)
        seeded = np.zeros(components.max() + 1, bool)
        seeded[components[cues == channel]] = True
        grown[seeded[components]] = channel
    return grown


def _check(cues: NDArray[Any], probs: NDArray[Any], labels: NDArray[Any]) -> None:
    if probs.ndim != 3 or len(probs) < 2 or probs.shape[1:] != cues.shape:
        raise ValueError(f"probabilities {probs.shape} do not fit cues {cues.shape}; expected (C, h, w) and (h, w)")
    if labels.shape not in ((len(probs) - 1,), (len(probs),)):
        raise ValueError(f"labels must have the shape {(len(probs) - 1,)}, without the background, not {labels.shape}")
    if not np.isin(labels, (0, 1)).all():
        raise ValueError("labels must be 0 or 1")
    if not np.issubdtype(cues.dtype, np.integer):
        raise ValueError(f"cues must be integers, not {cues.dtype}")
    wrong = (cues != IGNORE) & ((cues < 0) | (cues >= len(probs)))
    if wrong.any():
        raise ValueError(f"cues hold {np.unique(cues[wrong]).tolist()}, expected [0, {len(probs)}) or {IGNORE}")
    if probs.size and not (probs.min() >= 0 and probs.max() <= 1 + 1e-4):  # NaN fails the comparison as well
        raise ValueError(f"probabilities must be in [0, 1], got {probs.min()} to {probs.max()}")
