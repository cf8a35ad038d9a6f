"""Sources of attention maps: a trained model, a version of a map store, or a folder of grey PNGs."""

from __future__ import annotations

__all__ = [
    "FolderMaps",
    "ImageMap",
    "ModelLoader",
    "MapSource",
    "MapSourceConfig",
    "ModelMaps",
    "PipelineMaps",
    "StoreMaps",
]

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from attn.config.base import Location, Variant
from attn.data.classes import check_classes, first_names, read_class_names
from attn.data.decode import read_saliency
from attn.data.source import Source
from attn.errors import ConfigError, DataError
from attn.evaluation.refined import MapRefinement, described_after
from attn.files.class_names import CLASSES_FILE
from attn.files.locations import join, list_below, missing_folder_note, stem_of
from attn.maps.attention import MapKind
from attn.maps.refine import RefinementConfig, Refiner
from attn.maps.settings import MapSettings, StoredMapSettings
from attn.models.device import choose_device

if TYPE_CHECKING:
    from attn.models.bundle import Bundle
    from attn.store import Snapshot

log = logging.getLogger(__name__)

ImageMap = Mapping[int, NDArray[np.float32]]
"""An image's maps by class index, in its own frame on any grid, non-negative."""

ModelLoader = Callable[[str], "Bundle"]
"""Opens a trained model by whatever name a user gives it."""


class MapSource(Protocol):
    """Maps of a data set's own classes.

    Attributes:
        description: What the maps are, in plain values, for records of what was made of them.
    """

    description: dict[str, Any]

    def read(self, source: Source) -> Iterator[tuple[int, ImageMap]]:
        """Every image's position in `source.records` with the maps of its labels, in order.

        Raises:
            DataError: Maps and data do not belong together.
        """
        ...


class MapSourceConfig(Variant, tag="source"):
    """Source of maps; `source` selects the kind."""

    def open(self, locate: ModelLoader) -> MapSource:
        raise TypeError(f"{type(self).__name__} does not say how to open its maps")


class ModelMaps(MapSettings, MapSourceConfig):
    """Maps that a trained model computes now.

    Attributes:
        model: A trained model's folder, a run's id, or a registered model.
        map_kind, layer: By default what the model was trained with.
        batch_size: Images of one forward pass.
        device: `auto`: a GPU where there is one.
    """

    source: Literal["model"] = "model"
    model: str
    map_kind: MapKind | None = None
    layer: str | None = None
    batch_size: int = Field(default=16, ge=1, le=65_536)
    device: Literal["auto", "cpu", "gpu"] = "auto"

    def open(self, locate: ModelLoader) -> MapSource:
        device = choose_device(self.device)
        refiner = None if self.refine is None else self.refine.open(device)
        maps = _ModelMaps(self, locate(self.model), None if refiner is None else refiner.store_grid)
        return maps if refiner is None else _RefinedMaps(maps, refiner)


class StoreMaps(StoredMapSettings, MapSourceConfig):
    """Cumulative maps of a map store.

    Attributes:
        uri: Folder or `s3://` prefix of the store.
        version: A committed version; by default the newest.
    """

    source: Literal["store"] = "store"
    uri: Location
    version: int | None = Field(default=None, ge=1)

    def open(self, locate: ModelLoader) -> MapSource:
        from attn import store

        opened = store.open(self.uri)
        return _refined(_StoreMaps(opened.at(self.version), self.uri, opened.definition.classes), self.refine)


class FolderMaps(StoredMapSettings, MapSourceConfig):
    """Grey PNGs `<image id>_<class index>.png`, as published OAA and `attn store export` write them.

    The class's name may stand in place of its index. What attn writes has the names in `classes.json` beside them.

    Attributes:
        path: Folder of the PNGs.
    """

    source: Literal["folder"] = "folder"
    path: Location

    def open(self, locate: ModelLoader) -> MapSource:
        return _refined(_FolderMaps(self.path), self.refine)


class PipelineMaps(MapSourceConfig):
    """Maps that the former stages of a pipeline make."""

    source: Literal["pipeline"] = "pipeline"

    def open(self, locate: ModelLoader) -> MapSource:
        raise ConfigError(
            "labels.maps.source=pipeline is for `attn pipeline`: here, say which maps: model, store, folder"
        )


def _refined(maps: MapSource, config: RefinementConfig | None) -> MapSource:
    return maps if config is None else _RefinedMaps(maps, config.open(choose_device("auto")))


class _RefinedMaps:
    """Maps of any source, refined along what is seen in their images."""

    def __init__(self, maps: MapSource, refiner: Refiner) -> None:
        self.maps, self.refiner = maps, refiner
        refinement = described_after(refiner, maps.description.get("refinement"))
        self.description = maps.description | {"refinement": refinement}

    def read(self, source: Source) -> Iterator[tuple[int, ImageMap]]:
        refinement = MapRefinement(self.refiner, source)
        for position, maps in self.maps.read(source):
            yield position, refinement.maps(position, maps)


class _ModelMaps:
    """Args:
    grid: Size (h, w) of the maps, instead of the images' own.
    """

    def __init__(self, config: ModelMaps, bundle: Bundle, grid: tuple[int, int] | None) -> None:
        self.config, self.bundle, self.grid = config, bundle, grid
        self.kind: MapKind = config.map_kind or self.bundle.map_kind
        self.layer = config.layer or self.bundle.layer
        self.bundle.network.expose(self.layer)
        weights = self.bundle.sha256
        self.description = {"source": "model", "weights": weights, "map_kind": self.kind, "layer": self.layer}
        self.description |= config.described()

    def read(self, source: Source) -> Iterator[tuple[int, ImageMap]]:
        from attn.data.dataset import AttentionDataset
        from attn.data.loader import build_loader
        from attn.evaluation.inference import image_maps
        from attn.training.inputs import check_input

        check_classes(self.bundle.classes, source.classes)
        check_input(self.bundle.network, self.bundle.input, self.config, prefix="labels.maps.")
        device = choose_device(self.config.device)
        network = self.bundle.network.to(device)
        stride, scales = network.config.output_stride, self.config.other_scales
        dataset = AttentionDataset(source, self.bundle.input, train=False, scales=scales, stride=stride)
        size = 1 if self.bundle.input.resize == "short_side" else self.config.batch_size
        batches = [range(start, min(start + size, len(dataset))) for start in range(0, len(dataset), size)]
        for batch in build_loader(dataset, batches):
            result = image_maps(
                network,
                batch.to(device),
                kind=self.kind,
                layer=self.layer,
                grid=self.grid,
                kept=True,
                settings=self.config,
            )
            for position, image in zip(batch.indices, result, strict=True):
                yield position, image.maps


class _StoreMaps:
    def __init__(self, snapshot: Snapshot, uri: str, classes: Sequence[str]) -> None:
        self.snapshot, self.uri, self.classes = snapshot, uri, classes
        self.description = {"source": "store", "digest": snapshot.digest(), "version": snapshot.version}
        metadata = snapshot.manifest.metadata
        self.description |= MapSettings.of_described(metadata).described()
        self.description |= {name: metadata[name] for name in ("refinement",) if name in metadata}

    def read(self, source: Source) -> Iterator[tuple[int, ImageMap]]:
        if self.classes:
            check_classes(self.classes, source.classes, what=self.uri)
        for position, record in enumerate(source.records):
            try:
                maps = self.snapshot[record.image_id]
            except KeyError:
                raise DataError(f"{self.uri} has no rows for image {record.image_id!r}: it is of other data") from None
            yield position, {index: maps[index].astype(np.float32) for index in record.labels if index in maps}


class _FolderMaps:
    def __init__(self, folder: str) -> None:
        self.folder, self.files = folder, set(list_below(folder))
        self.description = {"source": "folder", "files": len(self.files)}
        if not any(name.endswith(".png") for name in self.files):
            raise DataError(
                f"{folder} holds no PNG{missing_folder_note(folder)}; files are named <image id>_<class index>.png"
            )

    def read(self, source: Source) -> Iterator[tuple[int, ImageMap]]:
        if (classes := read_class_names(self.folder, self.files)) is not None:
            check_classes(classes, source.classes, what=self.folder)
        names = [self._names(record.image_id, record.labels, source.classes) for record in source.records]
        if classes is None and any(stem_of(name).endswith(f"_{i}") for item in names for i, name in item.items()):
            log.warning(
                "%s does not say which classes the indices in its files' names are of (there is no %s): they are taken "
                "for the data's, 0 being the first of %s",
                self.folder,
                CLASSES_FILE,
                first_names(source.classes),
            )
        bare = [r.image_id for r, item in zip(source.records, names, strict=True) if r.labels and not item]
        if bare and len(bare) == sum(bool(record.labels) for record in source.records):
            raise DataError(f"{self.folder} has no map of any of the {len(bare)} images, {bare[0]} the first of them")
        for position, item in enumerate(names):
            maps = {index: read_saliency(join(self.folder, name), None) for index, name in item.items()}
            yield position, {index: values.astype(np.float32) for index, values in maps.items()}

    def _names(self, image_id: str, labels: Sequence[int], classes: Sequence[str]) -> dict[int, str]:
        """The files of an image's maps, as far as there are any."""
        # A class that is itself called by a number would be taken for another one's index.
        choices = {
            index: [
                f"{image_id}_{name}.png" for name in (index, *([] if classes[index].isdigit() else [classes[index]]))
            ]
            for index in labels
        }
        results = {index: [name for name in names if name in self.files] for index, names in choices.items()}
        return {index: names[0] for index, names in results.items() if names}
