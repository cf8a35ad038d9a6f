"""Stored maps of a data set's labels, and how they become soft labels in the input's frame.

Shapes: n labels of an image, h×w grid over the input.
"""

from __future__ import annotations

__all__ = ["SoftLabels", "StoredMaps", "open_maps"]

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


@dataclass(frozen=True)
class StoredMaps:
    """Maps of one version of a map store.

    Attributes:
        uri: Folder or `s3://bucket/prefix`.
        version: A committed version; None is the newest.
    """

    uri: str
    version: int | None = None


class SoftLabels:
    """An image's stored maps on the grid of the network's output, by flip, crop and resize of the image's sample.

    It can be pickled for the workers of a loader, each of which reads for itself the images that it prepares.

    Args:
        snapshot: Of the data set's own maps: see `open_maps`.
        grid: Gives (h, w) of the network's output for an input of (H, W).
    """

    def __init__(self, snapshot: Snapshot, grid: Callable[[tuple[int, int]], tuple[int, int]]) -> None:
        self.snapshot, self.grid = snapshot, grid

    def read(self, record: Record, geometry: Geometry) -> Tensor:
        """(n, h, w) in [0, 1], in the order of the record's labels; zero for a map that has nothing yet."""
        size = self.grid(geometry.size)
        if not record.labels:
            return torch.zeros((0, *size))
        found = self.snapshot[record.image_id]
        nothing = np.zeros(next(iter(found.values())).shape if found else size, np.uint8)
        maps_nhw = torch.from_numpy(np.stack([found.get(label, nothing) for label in record.labels])).float() / 255
        # The centres' weights add up to 1 only to rounding.
        return geometry.from_image(maps_nhw, size).clamp_(0, 1)


def open_maps(maps: StoredMaps, source: Source) -> Snapshot:
    """A version of a store that has a row for every label of every image of a source.

    Raises:
        StoreError: There is no such store or version.
        DataError: The store is of other images, labels or classes, or holds no map yet.
    """
    from attn import store

    opened = store.open(maps.uri)
    snapshot = opened.at(maps.version)
    if not snapshot.manifest.accepted + snapshot.manifest.fallback:
        raise DataError(
            f"version {snapshot.version} of {opened.uri} holds no map yet; `attn store show` lists versions"
        )
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
            f"{opened.uri} has no row for labels of {len(missing)} of the {len(source.records)} images: {shown}; "
            "give a store of this data, or the data that the maps were made of"
        )
    return snapshot
