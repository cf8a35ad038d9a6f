"""Saliency for images without one: how much a pixel differs from the image's border, and how near it is to the centre.

OpenCV's saliency module is in its contributed build only; this is the background cue of Zhang et al., "Minimum Barrier
Salient Object Detection at 80 FPS" (ICCV 2015), on OpenCV's filters. It does not replace a trained
network's saliency maps.
"""

from __future__ import annotations

__all__ = ["METHOD", "border_saliency"]

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

METHOD = "border colours and centre (computed)"
SIDE = 160
BORDER = 0.1
CENTRE = 0.3


def border_saliency(image_HW3: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Saliency (H, W), 0 to 255, of a uint8 RGB image.

    On each side of the image the border's colours (Lab) are a Gaussian; a pixel's saliency is the sum of its
    Mahalanobis distances to the sides without the largest of them, since one side may hold the object, times a Gaussian
    around the centre.
    """
    height, width = image_HW3.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(image_HW3, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    lab = cv2.GaussianBlur(cv2.cvtColor(small, cv2.COLOR_RGB2LAB), (5, 5), 0)
    thick = max(2, round(BORDER * min(lab.shape[:2])))
    sides = [lab[:thick], lab[-thick:], lab[:, :thick], lab[:, -thick:]]
    distances = np.stack([_stretched(_mahalanobis(lab, side.reshape(-1, 3))) for side in sides])
    unlike = _stretched(distances.sum(0) - distances.max(0))
    saliency = _stretched(unlike * _centre(*lab.shape[:2]))
    full = cv2.resize(saliency, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.rint(255 * full.clip(0, 1)).astype(np.uint8)


def _mahalanobis(lab_HW3: NDArray[Any], border_N3: NDArray[Any]) -> NDArray[np.float64]:
    spread = np.cov(border_N3.T.astype(np.float64)) if len(border_N3) > 1 else 0.0
    covariance = spread + np.eye(3)  # one unit of Lab is hardly seen
    difference = lab_HW3 - border_N3.mean(0)
    return np.sqrt(np.einsum("hwi,ij,hwj->hw", difference, np.linalg.inv(covariance), difference))


def _centre(height: int, width: int) -> NDArray[np.float64]:
    down, right = ((np.arange(n) + 0.5) / n - 0.5 for n in (height, width))
    return np.exp(-(down[:, None] ** 2 + right**2) / (2 * CENTRE**2))


def _stretched(values: NDArray[np.float64]) -> NDArray[np.float64]:
    values = values - values.min()
    peak = values.max()
    return values / peak if peak > 0 else values
