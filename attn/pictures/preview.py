"""Draws the attention maps of a few fixed images during training."""

from __future__ import annotations

__all__ = ["DrawsPicture", "Preview", "evenly_spaced", "panel_data"]

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from attn.data.dataset import AttentionDataset
from attn.data.sample import Batch, Example, Record, collate
from attn.evaluation.inference import ImageMaps, image_maps
from attn.pictures.layout import Picture
from attn.pictures.panel import panel
from attn.pictures.tiles import TRUTH, PanelData

if TYPE_CHECKING:
    from attn.models.network import Network
    from attn.models.output import MapKind


class ShownMethod(Protocol):
    """The map that a method trains."""

    @property
    def map_kind(self) -> MapKind: ...

    @property
    def layer(self) -> str: ...


@runtime_checkable
class DrawsPicture(Protocol):
    """A method with pictures of its own, instead of the maps of an image's classes."""

    def picture(self, network: Network, batch: Batch, example: Example, classes: Sequence[str]) -> Picture:
        """Draw an image; the network's mode is restored.

        Args:
            batch: A batch of this image only, prepared as in evaluation, on the network's device.
            example: The image in its own frame.
            classes: Names in the order of the logits.
        """
        ...


class Preview:
    """Draws the maps of fixed images of a data set, without its random transforms."""

    def __init__(self, dataset: AttentionDataset, network: Network, method: ShownMethod, count: int) -> None:
        self._network, self._method = network, method
        self._dataset = AttentionDataset(dataset.source, dataset.input, train=False)
        self._classes = dataset.source.classes
        self._indices = evenly_spaced(dataset.source.records, count)

    def draw(self) -> Iterator[tuple[str, Picture]]:
        """Draw the images; yields each image's id and picture. The network's mode is restored."""
        device, method = next(self._network.parameters()).device, self._method
        for index in self._indices:
            batch = collate([self._dataset[index]]).to(device)
            example = self._dataset.source.load(batch.indices[0], saliency=False)
            if isinstance(method, DrawsPicture):
                yield example.record.image_id, method.picture(self._network, batch, example, self._classes)
                continue
            for maps in image_maps(self._network, batch, kind=method.map_kind, layer=method.layer):
                yield maps.record.image_id, panel(panel_data(maps, example, self._classes))


def evenly_spaced(records: Sequence[Record], count: int) -> list[int]:
    """Positions of `count` labelled images, evenly spaced over the records."""
    labelled = [index for index, record in enumerate(records) if record.labels]
    if not labelled or count < 1:
        return []
    return [labelled[i] for i in sorted({int(i) for i in np.linspace(0, len(labelled) - 1, min(count, len(labelled)))})]


def panel_data(maps: ImageMaps, example: Example, classes: Sequence[str], *, with_mistake: bool = False) -> PanelData:
    """The maps of an image's labels; of its predicted classes if it has no labels.

    Always in the order of the classes, so that a class keeps its place while its probability changes.

    Args:
        with_mistake: Also, as the last one, the map of the most probable class that is predicted and no label.
    """
    shown = sorted(index for index in maps.record.labels if index in maps.maps) or sorted(maps.maps)
    probabilities = {} if maps.probabilities is None else dict(enumerate(maps.probabilities.tolist()))
    wrong = [index for index in maps.maps if index not in shown] if with_mistake and probabilities else []
    mistaken = [max(wrong, key=probabilities.__getitem__)] if wrong else []
    return PanelData(
        image_id=maps.record.image_id,
        image=example.image,
        classes=tuple(classes),
        maps={index: maps.maps[index] for index in (*shown, *mistaken)},
        probabilities=probabilities,
        masks={} if example.mask is None else {TRUTH: example.mask},
        title=maps.record.title,
        mistaken=frozenset(mistaken),
    )
