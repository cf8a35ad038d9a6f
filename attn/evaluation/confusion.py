"""Confusion matrix and intersection over union as in PASCAL VOC: one matrix over the whole split."""

from __future__ import annotations

__all__ = ["confusion_matrix", "mean_iou", "per_class_iou"]

import numpy as np
from numpy.typing import ArrayLike, NDArray


def confusion_matrix(
    prediction_HW: ArrayLike, truth_HW: ArrayLike, num_classes: int, *, ignore: int = 255
) -> NDArray[np.int64]:
    """Count pixels by true and predicted class. Matrices of several images can be added.

    Args:
        prediction_HW: Class indices in [0, num_classes).
        truth_HW: Class indices in [0, num_classes), or `ignore` for pixels that do not count.
        num_classes: Number of classes, including the background.

    Returns:
        int64 (num_classes, num_classes): rows are the truth, columns the prediction.

    Raises:
        ValueError: Shapes differ, or an index of a counted pixel is out of range.
    """
    prediction, truth = np.asarray(prediction_HW), np.asarray(truth_HW)
    if prediction.shape != truth.shape:
        raise ValueError(f"prediction {prediction.shape} and truth {truth.shape} differ in shape")
    counted = truth != ignore
    truth, prediction = truth[counted].astype(np.int64), prediction[counted].astype(np.int64)
    for name, values in (("truth", truth), ("prediction", prediction)):
        if values.size and (values.min() < 0 or values.max() >= num_classes):
            raise ValueError(
                f"{name} must have indices in [0, {num_classes}); they range from {values.min()} to {values.max()}"
            )
    counts = np.bincount(truth * num_classes + prediction, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)


def per_class_iou(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    """Intersection over union of each class; NaN for a class that is absent from both truth and prediction.

    Args:
        matrix: (..., n, n) confusion matrices; rows are the truth.
    """
    matrix = np.asarray(matrix)
    if matrix.ndim < 2 or matrix.shape[-1] != matrix.shape[-2]:
        raise ValueError(f"a confusion matrix must be square, not of shape {matrix.shape}")
    intersection = np.diagonal(matrix, axis1=-2, axis2=-1).astype(np.float64)
    union = matrix.sum(-1) + matrix.sum(-2) - intersection
    return np.divide(intersection, union, out=np.full(intersection.shape, np.nan), where=union > 0)


def mean_iou(matrix: NDArray[np.int64]) -> tuple[float, NDArray[np.float64]]:
    """Mean IoU, and the IoU of each class.

    Classes that are absent from both truth and prediction are NaN and not in the mean. The mean is NaN for an empty
    matrix.
    """
    per_class = per_class_iou(matrix)
    known = per_class[~np.isnan(per_class)]
    return (float(known.mean()) if known.size else float("nan")), per_class
