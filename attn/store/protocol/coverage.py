"""Coverage: whether an epoch's maps are those that were promised."""

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
    """Count the rows that got a map in an epoch, and compare with the promise.

    Args:
        expected: Rows, their number, or None where nothing was promised.

    Returns:
        `rows` with a map, of which `accepted` and `fallback`, and the number `expected`.

    Raises:
        CoverageError: Rows are missing, or there are some that nobody promised.
        MapError: An expected row is none of the store's.
    """
    found = sum(item.accepted + item.fallback for item in merged)
    counts: dict[str, int | None] = {
        "rows": found,
        "accepted": sum(item.accepted for item in merged),
        "fallback": sum(item.fallback for item in merged),
        "expected": None,
    }
    if expected is None:
        return counts
    if isinstance(expected, (int, np.integer)):
        promised = int(expected)
        if found != promised:
            raise CoverageError(epoch, found, promised, max(0, promised - found), max(0, found - promised))
    else:
        wanted = np.zeros(len(handle.index), bool)
        wanted[handle.index.numbers(expected)] = True
        promised = int(np.count_nonzero(wanted))
        covered = np.zeros(len(handle.index), bool)
        for item in merged:
            start, stop = handle.cuts[item.ref.shard], handle.cuts[item.ref.shard + 1]
            covered[start:stop] = np.unpackbits(np.frombuffer(item.covered, np.uint8), count=stop - start)
        missing, extra = np.flatnonzero(wanted & ~covered), int(np.count_nonzero(covered & ~wanted))
        if len(missing) or extra:
            raise CoverageError(epoch, found, promised, len(missing), extra, handle.index.pairs(missing))
    return counts | {"expected": promised}
