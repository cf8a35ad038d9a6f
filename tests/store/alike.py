"""Compares the maps of two stores up to float32 rounding."""

from __future__ import annotations

__all__ = ["assert_alike"]

import numpy as np

from attn.store import Snapshot


def assert_alike(first: Snapshot, second: Snapshot) -> None:
    """The same rows have maps of the same levels, and no value is more than one of 255 steps from the other's.

    Workers and tasks have batches of other sizes than one process has, for which a processor may add in another order.
    That moves a float32 map in [0, 1] by far less than a step, but may take a value over the middle between two.
    """
    for (start, levels, maps), (_, other_levels, others) in zip(first.shards(), second.shards(), strict=True):
        np.testing.assert_array_equal(levels, other_levels, err_msg=f"levels from row {start}")
        steps = np.abs(maps.astype(int) - others.astype(int)).max(initial=0)
        assert steps <= 1, f"maps from row {start} differ by {steps} of 255 steps"
