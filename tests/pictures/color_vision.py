"""Colours as people see them: CIE L*a*b* by OpenCV, and colour blindness by the matrices of Machado et al. (2009)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

SEEN = {
    "all": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}


def lab(rgb_N3: NDArray[np.generic] | list[tuple[int, int, int]], kind: str = "all") -> NDArray[np.float64]:
    """L*a*b* (N, 3) of sRGB colours as seen with a kind of colour blindness."""
    rgb = np.asarray(rgb_N3, np.float64).reshape(-1, 3) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ SEEN[kind].T, 0, 1)
    shown = np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055)
    return cv2.cvtColor(shown[None].astype(np.float32), cv2.COLOR_RGB2LAB)[0].astype(np.float64)


def distances(rgb_N3: NDArray[np.generic] | list[tuple[int, int, int]], kind: str = "all") -> NDArray[np.float64]:
    """Distances (N, N) in L*a*b*; a colour's to itself is infinite."""
    seen = lab(rgb_N3, kind)
    result = np.linalg.norm(seen[:, None] - seen[None], axis=-1)
    np.fill_diagonal(result, np.inf)
    return result
