"""Fully connected conditional random field (Krähenbühl and Koltun, NIPS 2011) that refines class probabilities."""

from __future__ import annotations

__all__ = ["AFTER_LAST_PYTHON", "OAA_CRF", "SEC_CRF", "CrfConfig", "CrfError", "check_crf", "crf_fault", "dense_crf"]

import importlib
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from attn.config.base import Config
from attn.errors import AttnError

PROBABILITY_FLOOR = 1e-5
AFTER_LAST_PYTHON = (3, 13)
"""First version of Python on which pydensecrf2 does not compile; pyproject.toml leaves it out from there on."""


class CrfError(AttnError):
    """A CRF is asked for where its package is not installed."""

    code = "crf"


def crf_fault() -> tuple[str, str] | None:
    """Why there is no CRF on this machine, as `needs ...`, and how to get one; None if there is one."""
    try:
        importlib.import_module("pydensecrf.densecrf")
    except ImportError as error:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        if sys.version_info >= AFTER_LAST_PYTHON:
            why, fix = f"does not compile on Python {version}", "use Python 3.11 or 3.12"
        else:
            why, fix = f"cannot be imported ({error})", "run `pip install pydensecrf2`, which needs a C++ compiler"
        return f"needs the package pydensecrf2, which {why}", fix
    return None


def check_crf(what: str, without: str) -> None:
    """Check that there is a CRF on this machine.

    Args:
        what: What asks for it.
        without: How to do without it.

    Raises:
        CrfError: Its package is not installed.
    """
    if (fault := crf_fault()) is not None:
        raise CrfError(f"{what} {fault[0]}: {without}, or {fault[1]}")


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

    def unused(self) -> Mapping[str, tuple[str, ...]]:
        unused: dict[str, tuple[str, ...]] = {}
        if self.bilateral_weight == 0:
            unused["bilateral_weight"] = ("bilateral_xy", "bilateral_rgb")
        if self.gaussian_weight == 0:
            unused["gaussian_weight"] = ("gaussian_xy",)
        return unused

    def lacking(self) -> tuple[str, str] | None:
        if (fault := crf_fault()) is None:
            return None
        return fault[0], f"leave the CRF out, by null where it is optional, or {fault[1]}"


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
        CrfError: The package that computes it is not installed.
    """
    check_crf("a dense CRF", "do without it")
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
