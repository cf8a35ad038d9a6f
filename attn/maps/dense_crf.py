"""Fully connected conditional random field (Krähenbühl and Koltun, NIPS 2011) that refines class probabilities."""

from __future__ import annotations

__all__ = ["OAA_CRF", "SEC_CRF", "CrfConfig", "dense_crf"]

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from attn.config.base import Config

PROBABILITY_FLOOR = 1e-5


class CrfConfig(Config):
    """Parameters of the dense CRF; the defaults are those of OAA's published evaluation.

    Attributes:
        iterations: Steps of mean-field inference.
        bilateral_weight: Weight of the bilateral kernel (position and colour); 0 omits it.
        bilateral_xy, gaussian_xy: Standard deviations of the position, in pixels.
        bilateral_rgb: Standard deviation of the colour, in values of 0 to 255.
        gaussian_weight: Weight of the Gaussian kernel (position only); 0 omits it.
    """

    iterations: int = Field(default=10, ge=1, le=1000)
    bilateral_weight: float = Field(default=3.0, ge=0)
    bilateral_xy: float = Field(default=67.0, gt=0)
    bilateral_rgb: float = Field(default=4.0, gt=0)
    gaussian_weight: float = Field(default=1.0, ge=0)
    gaussian_xy: float = Field(default=3.0, gt=0)


OAA_CRF = CrfConfig()
SEC_CRF = CrfConfig(bilateral_weight=10.0, bilateral_xy=80.0, bilateral_rgb=13.0, gaussian_weight=3.0, gaussian_xy=3.0)


def dense_crf(image_HW3: NDArray[np.uint8], probs_CHW: NDArray[Any], parameters: CrfConfig) -> NDArray[np.float32]:
    """Refine class probabilities along the edges of the image.

    Args:
        image_HW3: uint8 RGB, at the size of the probabilities.
        probs_CHW: Probabilities in [0, 1], of any floating-point type; clipped from below at 1e-5.
        parameters: Parameters of the CRF.

    Returns:
        float32 (C, H, W), summing to 1 over the classes. The inputs are not changed.

    Raises:
        ValueError: Shapes do not fit, the image is not uint8, or a probability is NaN or outside [0, 1].
    """
    # A compiled extension, which is needed here only.
    import pydensecrf.densecrf as densecrf

    image, probs = np.asarray(image_HW3), np.asarray(probs_CHW)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"expected a uint8 image (H, W, 3), got {image.dtype} {image.shape}")
    if probs.ndim != 3 or probs.shape[1:] != image.shape[:2]:
        raise ValueError(f"probabilities {probs.shape} do not fit an image of {image.shape[:2]}")
    if not (probs.min() >= 0 and probs.max() <= 1 + 1e-4):  # NaN fails the comparison as well
        raise ValueError(f"probabilities must be in [0, 1], got {probs.min()} to {probs.max()}")
    probs = probs.astype(np.float32)
    classes, height, width = probs.shape
    unary = -np.log(np.clip(probs, PROBABILITY_FLOOR, 1)).reshape(classes, -1)
    crf = densecrf.DenseCRF2D(width, height, classes)
    # The extension reads raw memory: anything but C-contiguous float32 gives garbage without an error. It also refuses
    # memory that it may not write to, such as what Ray hands to a task.
    crf.setUnaryEnergy(np.ascontiguousarray(unary, dtype=np.float32))
    if parameters.gaussian_weight:
        crf.addPairwiseGaussian(sxy=parameters.gaussian_xy, compat=parameters.gaussian_weight)
    if parameters.bilateral_weight:
        crf.addPairwiseBilateral(
            sxy=parameters.bilateral_xy,
            srgb=parameters.bilateral_rgb,
            rgbim=np.require(image, requirements=["C", "W"]),
            compat=parameters.bilateral_weight,
        )
    refined = np.asarray(crf.inference(parameters.iterations), dtype=np.float32)
    return refined.reshape(classes, height, width)
