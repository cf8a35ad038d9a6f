"""Run lengths of a region in its whole image: the basis of COCO's, CVAT's and Label Studio's codes."""

from __future__ import annotations

__all__ = ["column_runs", "row_runs", "run_lengths"]

import numpy as np
from numpy.typing import NDArray

from attn.annotations.image import Region


def run_lengths(values: NDArray[np.bool_]) -> list[int]:
    """Lengths of the alternating runs of False and True, False first: its first length may be 0.

    Args:
        values: bool (N,).
    """
    changes = np.flatnonzero(np.diff(values, prepend=False, append=False))
    if len(values) and values[-1]:
        changes = changes[:-1]  # the end of the last run is no change
    return np.diff(changes, prepend=0, append=len(values)).tolist()


def column_runs(region: Region, size: tuple[int, int]) -> list[int]:
    """Run lengths of a region in an image of `size` (H0, W0), column by column, each from top to bottom."""
    return _runs(region.pixels.T, region.top, region.left, size)


def row_runs(region: Region, size: tuple[int, int]) -> list[int]:
    """Run lengths of a region in an image of `size` (H0, W0), row by row, each from left to right."""
    return _runs(region.pixels, region.left, region.top, (size[1], size[0]))


def _runs(lines: NDArray[np.bool_], before: int, above: int, size: tuple[int, int]) -> list[int]:
    """Run lengths of lines that begin `before` pixels into their line, below `above` empty lines.

    Args:
        size: Length and number of all lines.
    """
    length, count = size
    whole = np.zeros((len(lines), length), bool)
    whole[:, before : before + lines.shape[1]] = lines
    runs = run_lengths(whole.ravel())
    runs[0] += above * length
    rest = (count - above - len(lines)) * length
    if len(runs) % 2:
        runs[-1] += rest
    elif rest:
        runs.append(rest)
    return runs
