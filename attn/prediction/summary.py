"""The summary of many predictions: a table with a row for each image."""

from __future__ import annotations

__all__ = ["COLUMNS", "SUMMARY", "Row", "fault_row", "summary_row"]

from collections.abc import Mapping
from typing import Any

from attn.files.locations import join

SUMMARY = "summary.csv"
COLUMNS = ("image", "labels", "probabilities", "best_guess", "best_probability", "mask", "problem", "image_id",
           "removed_by_crf", "maps")  # fmt: skip
"""`labels` and `probabilities` are separated by `|`, most probable first; `best_guess` is the most probable class,
whether it is predicted or not. `image_id` is that of `ImageFile`. `removed_by_crf`: classes of a segmentation
network's own mask that the CRF has removed, separated by `|`. `maps`: how a classifier's maps differ from plain
ones, as in `3 scales, flip, pamr`."""

Row = tuple[str | None, ...]


def summary_row(image: str, image_id: str, predicted: Mapping[str, Any], maps: str = "") -> Row:
    """The row of an image.

    Args:
        predicted: Content of its `prediction.json`.
        maps: How maps differ from plain ones; empty: they do not.
    """
    labels, known = predicted["labels"], predicted["probabilities"]
    best = max(known, key=known.__getitem__)
    mask = join(predicted["folder"], predicted["files"]["mask"])
    names = "|".join(label["class"] for label in labels)
    probabilities = "|".join(f"{label['probability']:.4f}" for label in labels)
    return (
        image,
        names,
        probabilities,
        best,
        f"{known[best]:.4f}",
        mask,
        None,
        image_id,
        "|".join(predicted["removed_by_crf"]),
        maps,
    )


def fault_row(image: str, image_id: str, problem: str) -> Row:
    """The row of an image that could not be read."""
    return (image, None, None, None, None, None, problem, image_id, None, None)
