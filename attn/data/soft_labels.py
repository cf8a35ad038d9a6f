"""Reads stored maps of a data set as soft labels in the input's frame.

Shapes: n labels of an image, h×w grid over the input.
"""

from __future__ import annotations

__all__ = ["OTHER_DATA", "SoftLabels", "StoredMaps", "open_maps"]

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from attn.data.classes import check_classes
from attn.data.geometry import Geometry
from attn.data.sample import Record
from attn.data.source import Source
from attn.errors import DataError

if TYPE_CHECKING:
    from attn.store import Snapshot

SHOWN = 5
OTHER_DATA = "use a store of this data, or the data that the maps were computed from"


@dataclass(frozen=True)
class StoredMaps:
    """One version of a map store.

    Attributes:
        uri: Folder or `s3://bucket/prefix`.
        version: A committed version; None: the newest.
    """

    uri: str
    version: int | None = None


class SoftLabels:
    """Transforms an image's stored maps onto the grid of the network's output, with the sample's flip, crop and resize.

    It can be pickled for a loader's workers, which read maps independently.

    Args:
        snapshot: Maps of the data set; see `open_maps`.
        grid: Computes (h, w) of the network's output for an input of (H, W).
    """

    def __init__(self, snapshot: Snapshot, grid: Callable[[tuple[int, int]], tuple[int, int]]) -> None:
        self.snapshot, self.grid = snapshot, grid

    def read(self, record: Record, geometry: Geometry) -> Tensor:
        """(n, h, w) in [0, 1], in the order of the record's labels; zero for labels without a map."""
        size = self.grid(geometry.size)
        if not record.labels:
            return torch.zeros((0, *size))
        result = self.snapshot[record.image_id]
        nothing = np.zeros(next(iter(result.values())).shape if result else size, np.uint8)
        maps_nhw = torch.from_numpy(np.stack([result.get(label, nothing) for label in record.labels])).float() / 255
        # The interpolation weights add up to 1 only up to rounding.
        return geometry.from_image(maps_nhw, size).clamp_(0, 1)


def open_maps(maps: StoredMaps, source: Source, hint: str = OTHER_DATA) -> Snapshot:
    """Open a store's version, and check that it has a row for every label of every image of a source.

    Args:
        hint: What to do if it is of other images.

    Raises:
        StoreError: There is no such store or version.
        DataError: The store is for other images, labels or classes, or has no maps yet.
    """
    from attn import store

    opened = store.open(maps.uri)
    snapshot = opened.at(maps.version)
    if not snapshot.manifest.accepted + snapshot.manifest.fallback:
        raise DataError(f"version {snapshot.version} of {opened.uri} has no maps yet; `attn store show` lists versions")
    if opened.definition.classes:
        check_classes(opened.definition.classes, source.classes, what=opened.uri)
    missing = []
    for record in source.records:
        start, stop = opened.rows.find(record.image_id)
        known = set(opened.rows.classes[start:stop].tolist())
        if unknown := [source.classes[label] for label in record.labels if label not in known]:
            missing.append(f"{record.image_id} ({', '.join(unknown)})")
    if missing:
        shown = ", ".join(missing[:SHOWN]) + (", ..." if len(missing) > SHOWN else "")
        raise DataError(
            f"{opened.uri} has no row for labels of {len(missing)} of the {len(source.records)} images: {shown}; {hint}"
        )
    return snapshot
