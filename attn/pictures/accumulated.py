"""How an image's cumulative maps grew over the epochs of a run, from the versions that its store still has."""

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
from attn.pictures.panel import Looked, growth

if TYPE_CHECKING:
    from attn.store import MapStore, Snapshot

Maps = dict[int, NDArray[np.uint8]]


def accumulated(
    store: MapStore, run: str, source: Source, indices: Iterable[int], *, columns: int = 6, height: int = 150
) -> Iterator[tuple[str, Picture]]:
    """Each image's id and picture: the image, its first map, states in between, the last one, and the truth.

    Args:
        run: Of the store; its committed versions, one an epoch, are the states.
        source: Of the images that the store has rows for.
        indices: Positions of the images to draw; one of which nothing was accumulated is left out.
        columns: How many states are drawn at most, spread evenly over the epochs.

    Raises:
        KeyError: The store does not have an image.
        DamagedError: An object of a version is missing or damaged.
    """
    epochs = _epochs(store, run)
    for index in indices:
        image_id = source.records[index].image_id
        states = {epoch: snapshot[image_id] for epoch, snapshot in epochs.items()}
        grown = [epoch for epoch, maps in states.items() if maps]
        if not grown:
            continue
        chosen = sorted({grown[int(place)] for place in np.linspace(0, len(grown) - 1, min(columns, len(grown)))})
        example = source.load(index, saliency=False)
        looked = {f"epoch {epoch + 1}": _looked(example, states[epoch], source.classes) for epoch in chosen}
        yield image_id, growth(looked, height=height)


def _epochs(store: MapStore, run: str) -> dict[int, Snapshot]:
    """The last version of each epoch that is in the run's history, by epoch."""
    newest = store.newest(run).version  # beyond it lie versions that a restart may abandon
    return {
        manifest.epoch: store.snapshot(manifest)
        for manifest, live in store.history()
        if live and manifest.run == run and manifest.version <= newest and not manifest.pending
    }


def _looked(example: Example, maps: Maps, classes: tuple[str, ...]) -> Looked:
    size = (example.image.shape[0], example.image.shape[1])
    stored_Nhw = torch.from_numpy(np.stack(list(maps.values()))).float() / 255
    in_image, _ = Geometry.whole(size).to_image(stored_Nhw)
    mask = example.mask
    return Looked(
        image_id=example.record.image_id,
        image=example.image,
        maps={classes[label]: values for label, values in zip(maps, in_image.numpy(), strict=True)},
        truth={} if mask is None else {classes[label]: mask == label + 1 for label in maps},
        mask=mask,
    )
