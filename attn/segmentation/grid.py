"""Positions of a network's output in its input; resampling of labels and scores between the two.

Networks whose layers pad by half their window put position i at pixel i · stride when the input has stride · n + 1
pixels: then the corners of output and input coincide. For other sizes positions are taken for cells of equal size.

Shapes: B images, C channels, h×w output, H×W input, n×m labels.
"""

from __future__ import annotations

__all__ = ["aligned", "labels_on_grid", "upsample_scores"]

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from attn.data.geometry import Geometry
from attn.segmentation.cues import IGNORE

Size = tuple[int, int]


def aligned(size: Size, grid: Size) -> bool:
    """Return whether the corners of an input and of its output coincide."""
    steps = {(long - 1) / (short - 1) for long, short in zip(size, grid, strict=True) if short > 1}
    return len(steps) == 1 and min(grid) > 1 and all(step == int(step) for step in steps)


def upsample_scores(scores_BChw: Tensor, size: Size, input_size: Size, rows: slice | None = None) -> Tensor:
    """Scores of an output at another size, bilinear.

    Args:
        size: (height, width) wanted: the input's, or that of the image which was resized to it.
        input_size: (height, width) of the input, which alone says where the output's positions lie.
        rows: The rows to compute; None: all.
    """
    grid = (scores_BChw.shape[2], scores_BChw.shape[3])
    corners = aligned(input_size, grid)
    if rows is not None:
        scores_BChw, size = _rows(scores_BChw, size[0], rows, corners), (rows.stop - rows.start, size[1])
    return functional.interpolate(scores_BChw, size, mode="bilinear", align_corners=corners)


def _rows(scores_BChw: Tensor, height: int, rows: slice, corners: bool) -> Tensor:
    """Some rows of the scores, resampled to a height."""
    here = scores_BChw.shape[2]
    rows_n = torch.arange(rows.start, rows.stop, dtype=torch.float64)
    if corners:
        position = rows_n * ((here - 1) / max(1, height - 1))
    else:
        position = ((rows_n + 0.5) * (here / height) - 0.5).clamp(min=0)
    low = position.floor().long().clamp(max=here - 1)
    high = (low + 1).clamp(max=here - 1)
    weight = (position - low).to(scores_BChw)[:, None]
    low, high = low.to(scores_BChw.device), high.to(scores_BChw.device)
    return torch.lerp(scores_BChw[:, :, low], scores_BChw[:, :, high], weight)


def labels_on_grid(labels_nm: NDArray[Any], geometry: Geometry, grid: Size) -> Tensor:
    """Labels of a whole image at the positions of a network's output, each taken from the cell around it.

    Args:
        labels_nm: On any grid over the image.
        grid: (h, w) of the output; with the input's own size every pixel gets its label.

    Returns:
        uint8 (h, w), 255 where the input reaches beyond the image.
    """
    corners = aligned(geometry.size, grid)
    top, left, height, width = geometry.crop
    rows = _cells(geometry.size[0], grid[0], top, height, geometry.image_size[0], labels_nm.shape[0], corners)
    columns = _cells(geometry.size[1], grid[1], left, width, geometry.image_size[1], labels_nm.shape[1], corners)
    if geometry.flip:
        columns = columns[::-1]
    seen = (rows >= 0)[:, None] & (columns >= 0)
    result = np.asarray(labels_nm)[np.maximum(rows, 0)][:, np.maximum(columns, 0)]
    return torch.from_numpy(np.where(seen, result, IGNORE).astype(np.uint8))


def _cells(
    pixels: int, count: int, start: int, extent: int, length: int, cells: int, corners: bool
) -> NDArray[np.int64]:
    """For each position along one axis of the output the cell of the labels, -1 beyond the image."""
    index = np.arange(count)
    centre = index * (pixels - 1) / (count - 1) + 0.5 if corners and count > 1 else (index + 0.5) * pixels / count
    position = start + centre / pixels * extent
    result = np.floor(position / length * cells).astype(np.int64)
    return np.where((position >= 0) & (position < length), np.clip(result, 0, cells - 1), -1)
