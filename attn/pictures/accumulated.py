"""Draws how an image's cumulative maps changed over the epochs of a run, from the versions in its map store."""

from __future__ import annotations

__all__ = ["accumulated"]

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from attn.data.geometry import Geometry
from attn.data.sample import Example
from attn.data.source import Source
from attn.pictures.layout import Picture
from attn.pictures.panel import growth
from attn.pictures.tiles import TRUTH, PanelData

if TYPE_CHECKING:
    from attn.store import MapStore, Snapshot

Maps = dict[int, NDArray[np.uint8]]


def accumulated(
    store: MapStore, run: str, source: Source, indices: Iterable[int], *, columns: int = 6, height: int = 150
) -> Iterator[tuple[str, Picture]]:
    """Draw for each image: the image, its first map, maps in between, the last map, and the ground truth.

    Args:
        run: A run of the store; the newest committed version of each epoch is drawn.
        source: The data set of the images that the store has rows for.
        indices: Positions of the images to draw. Images without accumulated maps are omitted.
        columns: Largest number of epochs to draw, evenly spaced.
        height: Height of the tiles in pixels.

    Yields:
        Each image's id and picture.

    Raises:
        KeyError: The store lacks an image.
        DamagedError: An object of a version is missing or damaged.
    """
    epochs = _epochs(store, run)
    for index in indices:
        image_id = source.records[index].image_id
        states = {epoch: snapshot[image_id] for epoch, snapshot in epochs.items()}
        grown = [epoch for epoch, maps in states.items() if maps]
        if not grown:
            continue
        chosen = sorted({grown[int(position)] for position in np.linspace(0, len(grown) - 1, min(columns, len(grown)))})
        example = source.load(index, saliency=False)
        panels = {f"epoch {epoch + 1}": _panel_data(example, states[epoch], source.classes) for epoch in chosen}
        yield image_id, growth(panels, height=height)


def _epochs(store: MapStore, run: str) -> dict[int, Snapshot]:
    """The newest version of each epoch in the run's history, by epoch."""
    newest = store.newest(run).version  # a restart may abandon later versions
    return {
        manifest.epoch: store.snapshot(manifest)
        for manifest, live in store.history()
        if live and manifest.run == run and manifest.version <= newest and not manifest.pending
    }


def _panel_data(example: Example, maps: Maps, classes: tuple[str, ...]) -> PanelData:
    size = (example.image.shape[0], example.image.shape[1])
    stored_Nhw = torch.from_numpy(np.stack(list(maps.values()))).float() / 255
    in_image, _ = Geometry.whole(size).to_image(stored_Nhw)
    return PanelData(
        image_id=example.record.image_id,
        image=example.image,
        classes=classes,
        maps=dict(zip(maps, in_image.numpy(), strict=True)),
        masks={} if example.mask is None else {TRUTH: example.mask},
        title=example.record.title,
    )
