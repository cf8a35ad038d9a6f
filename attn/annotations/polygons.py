"""Polygons around the regions of a mask, along the edges of its pixels, and simplified."""

from __future__ import annotations

__all__ = ["polygon_of"]

import cv2
import numpy as np
from numpy.typing import NDArray

from attn.annotations.image import Region

Ring = NDArray[np.float64]
"""Corners (N, 2) of a closed line, x and y in pixels; the image's top left corner is (0, 0), not a pixel's centre."""
LEAST_CORNERS = 3
LEAST_SHARE = 0.5
"""Of a ring's area that its simplified one must keep: thin rings lose more and stay as they are."""


def polygon_of(region: Region, tolerance: float) -> Ring:
    """A region's outline as one closed polygon in the image, in pixels.

    Holes are part of it: two lines in one place, there and back, join each to the outline and enclose
    nothing.

    Args:
        tolerance: Maximum distance of the polygon from the exact outline, in pixels; 0: the exact outline, along the
            pixels' edges.
    """
    outer, *holes = (_simplified(ring, tolerance) for ring in _rings(region.pixels))
    polygon = outer
    for hole in sorted(holes, key=lambda ring: float(ring[:, 0].min())):
        polygon = _joined(polygon, hole)
    return polygon + np.array([region.left, region.top])


def _rings(pixels: NDArray[np.bool_]) -> list[Ring]:
    """The exact outer ring of a region, and those of its holes, along the edges of the pixels."""
    # OpenCV's contours run through the centres of border pixels. At twice the size the centres next to an edge between
    # pixels, on either side of it, give this edge as (v + 1) // 2.
    doubled = pixels.view(np.uint8).repeat(2, axis=0).repeat(2, axis=1)
    padded = cv2.copyMakeBorder(doubled, 2, 2, 2, 2, cv2.BORDER_CONSTANT)
    contours, hierarchy = cv2.findContours(padded, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    rings = [_corners((contour[:, 0].astype(np.int64) + 1) // 2 - 1) for contour in contours]
    outside = [row[3] < 0 for row in hierarchy[0]]
    return [rings[outside.index(True)], *(ring for ring, outer in zip(rings, outside, strict=True) if not outer)]


def _corners(points: NDArray[np.int64]) -> Ring:
    """The points of a line at which its direction changes."""
    points = points[(points != np.roll(points, 1, axis=0)).any(1)]
    before, after = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    turns = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0] != 0
    back = (before == -after).all(1)
    return points[turns | back].astype(np.float64)


def _simplified(ring: Ring, tolerance: float) -> Ring:
    if not tolerance:
        return ring
    result = cv2.approxPolyDP(ring.astype(np.float32)[:, None], tolerance, closed=True)[:, 0].astype(np.float64)
    if len(result) < LEAST_CORNERS or _area(result) < LEAST_SHARE * _area(ring):
        return ring
    return result


def _area(ring: Ring) -> float:
    x, y = ring.T
    return abs(float(x @ np.roll(y, 1) - y @ np.roll(x, 1))) / 2


def _joined(outer: Ring, hole: Ring) -> Ring:
    """One ring around both: from a corner of the outer one near the hole into it, around it, and back."""
    start = int(hole[:, 0].argmin())
    at = int(np.square(outer - hole[start]).sum(1).argmin())
    around = np.roll(hole, -start, axis=0)
    return np.concatenate([outer[: at + 1], around, around[:1], outer[at:]])
