"""Deep seeded region growing (DSRG: Huang et al., CVPR 2018). Shapes: C channels, 0 is the background, h×w pixels."""

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
    """Grow each class's cues over connected confident pixels (DSRG).

    A pixel is confident if the most probable among the background and the present classes exceeds its threshold. The
    confident pixels and cues of a class form 8-connected components. Every component that contains a cue becomes a cue.
    Existing cues keep their label, and components of other classes do not cross them.

    Args:
        cues_hw: Channel indices; 255 means no cue.
        probs_Chw: Probabilities in [0, 1].
        labels_C: Present classes as 0/1: (C - 1,) without the background, or (C,) whose first entry is ignored.
        foreground: Threshold of the classes, in [0, 1].
        background: Threshold of the background, in [0, 1].

    Returns:
        uint8 (h, w), like `cues_hw`, with all given cues.

    Raises:
        ValueError: The shapes do not fit, a cue is not a channel, or a value is out of range.
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
        raise ValueError(f"cues must be in [0, {len(probs)}) or {IGNORE}, not {np.unique(cues[wrong]).tolist()}")
    if probs.size and not (probs.min() >= 0 and probs.max() <= 1 + 1e-4):  # NaN fails the comparison as well
        raise ValueError(f"probabilities must be in [0, 1]; they range from {probs.min()} to {probs.max()}")
