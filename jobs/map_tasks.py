"""Write a model's maps by tasks, in this process or on Ray: into a map store, or as PNGs."""

from __future__ import annotations

__all__ = ["WrittenMaps", "MapsWork", "write_maps"]

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol, Self

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from attn import progress, store
from attn.data.classes import check_classes
from attn.data.dataset import AttentionDataset
from attn.data.images_table import IMAGES_TABLE, images_table
from attn.data.loader import build_loader
from attn.data.source import Source
from attn.data.source_cache import SourceCache
from attn.data.transforms import scaled_size
from attn.errors import DataError
from attn.evaluation.classification import predicted_classes
from attn.evaluation.inference import ImageMaps, image_maps
from attn.evaluation.predictions import write_predictions
from attn.evaluation.refined import MapRefinement
from attn.files.class_names import CLASSES_FILE, classes_file
from attn.files.locations import join, within
from attn.files.transfer import write_bytes
from attn.maps.attention import MapKind
from attn.maps.refine import Refiner
from attn.models.bundle import Bundle
from attn.models.device import choose_device
from attn.models.map_size import MapSize
from attn.runs.maps import MapsConfig, PngOutput, StoreOutput
from attn.runs.result import IF_GIVEN, JsonResult
from attn.store import DeltaRef, Session, Writer
from attn.training.inputs import check_input
from attn.wording import counted
from jobs.ray_cluster.session import ray_session
from jobs.ray_cluster.tasks import on_ray
from jobs.runs.open_model import resize_text
from jobs.runs.run_folder import RunFolder

SHOWN = 8
CHUNK = 256
"""Images of a task on a cluster."""
BUFFER_BYTES = 256 << 20
"""Of maps that wait in a task."""


@dataclass(frozen=True)
class MapsWork:
    """Input of all tasks; it is pickled for those of other processes."""

    bundle: Bundle
    config: MapsConfig
    source: Source
    map_kind: MapKind
    layer: str
    refiner: Refiner | None = None

    @classmethod
    def of(cls, bundle: Bundle, config: MapsConfig, sources: SourceCache) -> Self:
        """The work that a config asks for.

        Raises:
            AttnError: Model, config and data do not fit.
        """
        layer = config.layer or bundle.layer
        bundle.network.expose(layer)
        source = sources.get(config.data, labels=config.classes != "predicted")
        check_classes(bundle.classes, source.classes)
        check_input(bundle.network, config.input, config, prefix="")
        if not source.records:
            raise DataError(f"data.split={config.data.split!r} has no images")
        refiner = None if config.refine is None else config.refine.open(torch.device("cpu"))
        return cls(bundle, config, source, config.map_kind or bundle.map_kind, layer, refiner)

    def chunks(self, *, on_cluster: bool) -> list[range]:
        """The images of each task."""
        images = len(self.source.records)
        tasks = self.config.tasks or (-(-images // CHUNK) if on_cluster else 1)
        size = -(-images // tasks)
        return [range(start, min(start + size, images)) for start in range(0, images, size)]

    def images(self, positions: range, *, maps: bool, grid: tuple[int, int] | None = None) -> Iterator[ImageMaps]:
        """Predictions, and with `maps` the maps, of some of the images, each once."""
        config, device = self.config, choose_device(self.config.device)
        network = self.bundle.network.to(device)
        size = 1 if config.input.resize == "short_side" else config.batch_size  # only equal inputs make a batch
        batches = [positions[start : start + size] for start in range(0, len(positions), size)]
        stride, seen = self.bundle.network.config.output_stride, set[str]()
        scales = config.other_scales if maps else ()
        refiner = self.refiner if maps else None
        refinement = None if refiner is None else MapRefinement(refiner.to(device), self.source)
        dataset = AttentionDataset(self.source, config.input, train=False, scales=scales, stride=stride)
        for batch in build_loader(dataset, batches, workers=config.data_workers):
            results = image_maps(
                network,
                batch.to(device),
                kind=self.map_kind,
                layer=self.layer,
                labels=config.classes != "predicted",
                predicted=config.classes != "labels",
                probability=config.probability,
                maps=maps,
                grid=grid if refinement is None else refinement.grid,
                kept=True,
                settings=config,
            )
            for position, image in zip(batch.indices, results, strict=True):
                if image.record.image_id not in seen:
                    seen.add(image.record.image_id)
                    yield image if refinement is None else refinement.of_image(position, image, grid)


class _Sink(Protocol):
    """Target of one task's maps.

    Attributes:
        grid: The size that it takes them in, None for the image's own.
    """

    grid: tuple[int, int] | None

    def add(self, image: ImageMaps) -> None: ...

    def close(self) -> DeltaRef | None: ...


class _StoreSink:
    def __init__(self, session: Session, rank: int, grid: tuple[int, int] | None) -> None:
        self.session, self.rank, self.grid = session, rank, grid

    @cached_property
    def writer(self) -> Writer:
        """Made where the task runs."""
        return self.session.writer(self.rank, limit_bytes=BUFFER_BYTES)

    def add(self, image: ImageMaps) -> None:
        for index, values in image.maps.items():
            self.writer.add(image.record.image_id, index, values)

    def close(self) -> DeltaRef:
        return self.writer.seal()


class _PngSink:
    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.grid: tuple[int, int] | None = None  # the image's own size

    def add(self, image: ImageMaps) -> None:
        name = image.record.image_id
        for index, values in image.maps.items():
            pixels = np.rint(values * 255).astype(np.uint8)
            path = within(self.folder, f"{name}_{index}.png", f"image {name!r}")
            write_bytes(path, cv2.imencode(".png", pixels)[1].tobytes())

    def close(self) -> None:
        return None


@dataclass(frozen=True)
class WrittenMaps(JsonResult):
    """Files that were written: `MapsResult` describes the fields."""

    images: int
    maps: int
    predictions: str
    notes: list[str]
    png: str | None = field(default=None, metadata=IF_GIVEN)
    store: str | None = field(default=None, metadata=IF_GIVEN)
    store_version: int | None = field(default=None, metadata=IF_GIVEN)


@dataclass(frozen=True)
class _Written:
    """The result of one task."""

    maps: int
    probabilities: dict[str, NDArray[np.float64]]
    delta: DeltaRef | None = None


@dataclass(frozen=True)
class _Task:
    """Some of the images, and what is to be done with them."""

    positions: range
    sink: _Sink | None = field(default=None)


def _do(work: MapsWork, task: _Task, report: Callable[[int], None]) -> _Written:
    """Predict, and write the maps if the task has a sink.

    Args:
        report: Called with the number of images done so far.
    """
    sink, count, probabilities = task.sink, 0, dict[str, NDArray[np.float64]]()
    grid = None if sink is None else sink.grid
    for image in work.images(task.positions, maps=sink is not None, grid=grid):
        assert image.probabilities is not None
        probabilities[image.record.image_id] = image.probabilities
        if sink is not None:
            sink.add(image)
            count += len(image.maps)
        report(len(probabilities))
    return _Written(count, probabilities, None if sink is None else sink.close())


def write_maps(work: MapsWork, folder: RunFolder, model: str, address: str | None) -> WrittenMaps:
    """Write the maps where the config says, by tasks here or on Ray.

    Args:
        folder: Of the run, for what has no other location.
        model: What to call the model in the store's metadata.

    Raises:
        AttnError: There is no map to write, or the location cannot be written.
    """
    output, chunks = work.config.output, work.chunks(on_cluster=address is not None)
    if isinstance(output, PngOutput):
        png = output.location or folder.path("png")
        write_bytes(join(png, CLASSES_FILE), classes_file(work.source.classes))
        write_bytes(join(png, IMAGES_TABLE), images_table(work.source.records))
        tasks = [_Task(chunk, _PngSink(png)) for chunk in chunks]
        written = _run_tasks(work, tasks, address, "maps")
        return replace(_outputs(work, folder, written), png=png)
    assert isinstance(output, StoreOutput)
    return _write_store(work, output, chunks, folder, model, address)


def _write_store(
    work: MapsWork, output: StoreOutput, chunks: Sequence[range], folder: RunFolder, model: str, address: str | None
) -> WrittenMaps:
    config, records = work.config, work.source.records
    rows = {(record.image_id, label) for record in records for label in record.labels if config.classes != "predicted"}
    if config.classes != "labels":  # a store's rows are fixed when it is made: what is predicted must be known by then
        tasks = [_Task(chunk) for chunk in chunks]
        predicted = _run_tasks(work, tasks, address, "predictions")
        rows |= {
            (name, int(index))
            for part in predicted
            for name, values in part.probabilities.items()
            for index in predicted_classes(values, threshold=config.probability, exclusive=work.source.exclusive)
        }
    if not rows:
        raise DataError(f"there is no map to write: no image has {'a label' if config.classes == 'labels' else 'one'}")
    size = (config.input.size, config.input.size) if isinstance(config.input.size, int) else config.input.size
    architecture = work.bundle.network.config
    largest = scaled_size(size, max(config.scales), architecture.output_stride)
    opened = store.create(
        output.location or folder.path("store"),
        rows=rows,
        grid=output.grid or (work.refiner.store_grid if work.refiner else MapSize(architecture, work.layer)(largest)),
        classes=work.source.classes,
        fingerprint=work.source.fingerprint(),
        exist_ok=True,
    )
    session = opened.begin(folder.run_id)
    tasks = [_Task(chunk, _StoreSink(session, rank, opened.grid)) for rank, chunk in enumerate(chunks)]
    written = _run_tasks(work, tasks, address, "maps")
    outputs = _outputs(work, folder, written)
    folder.write(IMAGES_TABLE, images_table(records))
    readable = {name for part in written for name in part.probabilities}
    version = session.commit(
        0,
        [part.delta for part in written if part.delta is not None],
        expected=sorted(row for row in rows if row[0] in readable),
        metadata={
            "model": model,
            "weights": work.bundle.sha256,
            "map_kind": work.map_kind,
            "layer": work.layer,
            "resize": resize_text(config.input),
            "classes": config.classes,
            **config.described(),
            **({} if work.refiner is None else {"refinement": work.refiner.description}),
            "predictions": outputs.predictions,
        },
    )
    session.publish(version)
    return replace(outputs, store=opened.uri, store_version=version)


def _run_tasks(work: MapsWork, tasks: Sequence[_Task], address: str | None, what: str) -> list[_Written]:
    """Do the tasks: one here, several on Ray."""
    with progress.task(what, len(work.source.records), "images") as reported:
        if len(tasks) == 1:
            return [_do(work, tasks[0], reported.update)]
        with ray_session(address):
            return on_ray(_do, work, tasks, reported.update, gpu=work.config.device != "cpu")


def _outputs(work: MapsWork, folder: RunFolder, written: Sequence[_Written]) -> WrittenMaps:
    probabilities = {name: values for part in written for name, values in part.probabilities.items()}
    unread = [record.image_id for record in work.source.records if record.image_id not in probabilities]
    names = ", ".join(unread[:SHOWN]) + (", ..." if len(unread) > SHOWN else "")
    predictions = folder.path("predictions.parquet")
    write_predictions(predictions, probabilities, work.source.classes)
    return WrittenMaps(
        images=len(probabilities),
        maps=sum(part.maps for part in written),
        predictions=predictions,
        notes=[f"{counted(len(unread), 'image')} could not be read, and so left out: {names}"] if unread else [],
    )
