"""Coverage: whether an epoch's maps cover exactly the expected rows."""

from __future__ import annotations

__all__ = ["check_coverage"]

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from attn.store.errors import CoverageError
from attn.store.protocol.handle import StoreHandle
from attn.store.protocol.merge import MergedShard


def check_coverage(
    handle: StoreHandle,
    merged: Sequence[MergedShard],
    epoch: int,
    expected: Iterable[tuple[str, int]] | NDArray[np.integer] | int | None,
) -> dict[str, int | None]:
    """Count the rows that got a map in an epoch, and compare them with the expected rows.

    Args:
        expected: Rows or their number; None: do not compare.

    Returns:
        Counts: `rows` with a map, `accepted` and `fallback` of them, and `expected`.

    Raises:
        CoverageError: Expected rows are missing, or other rows have maps.
        MapError: The store does not have an expected row.
    """
    result = sum(item.accepted + item.fallback for item in merged)
    counts: dict[str, int | None] = {
        "rows": result,
        "accepted": sum(item.accepted for item in merged),
        "fallback": sum(item.fallback for item in merged),
        "expected": None,
    }
    if expected is None:
        return counts
    if isinstance(expected, (int, np.integer)):
        promised = int(expected)
        if result != promised:
            raise CoverageError(epoch, result, promised, max(0, promised - result), max(0, result - promised))
    else:
        wanted = np.zeros(len(handle.index), bool)
        wanted[handle.index.numbers(expected)] = True
        promised = int(np.count_nonzero(wanted))
        covered = np.zeros(len(handle.index), bool)
        for item in merged:
            start, stop = handle.shard_bounds[item.ref.shard], handle.shard_bounds[item.ref.shard + 1]
            covered[start:stop] = np.unpackbits(np.frombuffer(item.covered, np.uint8), count=stop - start)
        missing, extra = np.flatnonzero(wanted & ~covered), int(np.count_nonzero(covered & ~wanted))
        if len(missing) or extra:
            raise CoverageError(epoch, result, promised, len(missing), extra, handle.index.pairs(missing))
    return counts | {"expected": promised}
