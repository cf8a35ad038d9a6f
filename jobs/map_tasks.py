"""Write a model's maps by this process or a pool of others: into a map store, or as PNGs.

The images are done in chunks. An interrupted run continues with the chunks that it lacks, and nothing that grows with
the number of images is kept in this process but the names of what was written.
"""

from __future__ import annotations

__all__ = ["MapsWork", "WrittenMaps", "write_maps"]

import hashlib
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from attn import progress, store
from attn.data.classes import check_classes
from attn.data.dataset import AttentionDataset
from attn.data.images_table import IMAGES_TABLE, images_table
from attn.data.loader import PositionLoader
from attn.data.sample import Record
from attn.data.source import Source
from attn.data.source_cache import SourceCache
from attn.data.transforms import scaled_size
from attn.errors import DataError
from attn.evaluation.classification import predicted_classes
from attn.evaluation.inference import ImageMaps, image_maps
from attn.evaluation.predictions import join_predictions
from attn.evaluation.refined import MapRefinement
from attn.files.class_names import CLASSES_FILE, classes_file
from attn.files.locations import join
from attn.files.transfer import write_bytes
from attn.maps.attention import MapKind
from attn.maps.refine import Refiner
from attn.models.bundle import Bundle
from attn.models.device import choose_device
from attn.models.map_size import MapSize
from attn.runs.maps import MapsConfig, PngOutput, StoreOutput
from attn.runs.result import IF_GIVEN, JsonResult
from attn.store import DeltaRef
from attn.tracking.description import flattened
from attn.training.inputs import check_input
from attn.wording import counted
from jobs.ray_cluster.merge_tasks import ray_map
from jobs.ray_cluster.worker_pool import Report, WorkerPool, worker_pool
from jobs.runs.map_sinks import MapSink, PngSink, StoreSink
from jobs.runs.open_model import resize_text
from jobs.runs.prediction_parts import PredictionParts
from jobs.runs.run_folder import RunFolder
from jobs.runs.same_run import is_input
from jobs.runs.store_progress import StoreProgress

SHOWN = 8
CHUNK = 256
"""Images of a chunk: what is done again if its process dies."""
PROGRESS = "chunks of maps"
"""Key of a tentative version's metadata."""


@dataclass(frozen=True)
class MapsWork:
    """Input of all processes."""

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

    def chunks(self) -> list[range]:
        """The images of each chunk."""
        images = len(self.source.records)
        size = min(CHUNK, -(-images // (self.config.tasks or 1)))
        return [range(start, min(start + size, images)) for start in range(0, images, size)]

    def classes_of(self, record: Record, probabilities: NDArray[np.float64] | None) -> set[int]:
        """Indices of the classes that an image has maps of.

        Args:
            probabilities: (C,); None: unknown, so that no class counts as predicted.
        """
        config = self.config
        classes = set(record.labels) if config.classes != "predicted" else set[int]()
        if config.classes != "labels" and probabilities is not None:
            classes.update(
                predicted_classes(probabilities, threshold=config.probability, exclusive=self.source.exclusive)
            )
        return classes

    @property
    def digest(self) -> str:
        """Of everything that the maps depend on, and of the chunks."""
        config = flattened(self.config.model_dump(mode="json"))
        inputs = {name: value for name, value in config.items() if is_input(name)}
        parts = [inputs, self.bundle.sha256, self.source.fingerprint(), len(self.chunks()[0])]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


class _Predictor:
    """A model on its device, ready for one chunk after the other."""

    def __init__(self, work: MapsWork) -> None:
        self.work, self.device = work, choose_device(work.config.device)
        self.network = work.bundle.network.to(self.device)
        refiner = work.refiner
        self.refinement = None if refiner is None else MapRefinement(refiner.to(self.device), work.source)
        self.sink: MapSink | None = None
        self.loaders: dict[bool, PositionLoader] = {}

    def __call__(self, chunk: _Chunk, report: Report) -> _Written:
        if self.sink is None:  # a copy, which reads the rows of its store once
            self.sink = chunk.sink
        sink = None if chunk.sink is None else self.sink
        probabilities = dict[str, NDArray[np.float64]]()
        if sink is not None:
            sink.begin(chunk.number)
        for image in self._images(chunk.positions, sink):
            assert image.probabilities is not None
            probabilities[image.record.image_id] = image.probabilities
            if sink is not None:
                sink.add(image)
            report(len(probabilities))
        delta = None if sink is None else sink.close()
        if chunk.parts is not None:
            chunk.parts.write(chunk.number, probabilities)
        return _Written(chunk.number, delta)

    def _images(self, positions: range, sink: MapSink | None) -> Iterator[ImageMaps]:
        """Predictions, and for a sink the maps, of some of the images, each once."""
        config, maps, grid = self.work.config, sink is not None, None if sink is None else sink.grid
        refinement = self.refinement if maps else None
        seen = set[int]()
        for batch in self._loader(maps=maps)(positions):
            results = image_maps(
                self.network,
                batch.to(self.device),
                kind=self.work.map_kind,
                layer=self.work.layer,
                labels=config.classes != "predicted",
                predicted=config.classes != "labels",
                probability=config.probability,
                maps=maps,
                grid=grid if refinement is None else refinement.grid,
                kept=True,
                settings=config,
            )
            for position, image in zip(batch.indices, results, strict=True):
                # In place of an unreadable image, another one comes: perhaps twice, or one of another chunk.
                if position in positions and position not in seen:
                    seen.add(position)
                    yield image if refinement is None else refinement.of_image(position, image, grid)

    def _loader(self, *, maps: bool) -> PositionLoader:
        if maps not in self.loaders:
            config, stride = self.work.config, self.work.bundle.network.config.output_stride
            scales = config.other_scales if maps else ()
            dataset = AttentionDataset(self.work.source, config.input, train=False, scales=scales, stride=stride)
            size = 1 if config.input.resize == "short_side" else config.batch_size  # only equal inputs make a batch
            self.loaders[maps] = PositionLoader(dataset, size, config.data_workers)
        return self.loaders[maps]


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
class _Chunk:
    """Some of the images, and what is to be done with them.

    Attributes:
        parts: Where their probabilities are written, after their maps; None: they are there.
        sink: Where their maps are written, if that is asked for.
    """

    number: int
    positions: range
    parts: PredictionParts | None
    sink: MapSink | None = None


@dataclass(frozen=True)
class _Written:
    """The result of one chunk."""

    number: int
    delta: DeltaRef | None


class _Run:
    """The chunks of a run, and how far they are."""

    def __init__(self, work: MapsWork, folder: RunFolder, pool: WorkerPool[_Chunk, _Written]) -> None:
        self.work, self.folder, self.pool = work, folder, pool
        self.chunks = work.chunks()
        self.parts = PredictionParts(folder.uri, work.digest, work.source.classes)

    def do(self, what: str, done: set[int], *, parts: bool, sink: MapSink | None = None) -> Iterator[_Written]:
        """Do the chunks that are not done yet.

        Args:
            what: Name of the work, for people.
        """
        numbers = [number for number in range(len(self.chunks)) if number not in done]
        todo = [_Chunk(one, self.chunks[one], self.parts if parts else None, sink) for one in numbers]
        before = sum(len(self.chunks[number]) for number in done)
        with progress.task(what, len(self.work.source.records), "images") as reported:
            reported.kept = before
            yield from self.pool.run(todo, lambda images: reported.update(before + images))

    def rows(self) -> Iterator[tuple[str, int]]:
        """The rows of a store of these maps; predictions must be known, if they are asked for."""
        for number, positions in enumerate(self.chunks):
            probabilities = self.parts.read(number) if self.work.config.classes != "labels" else {}
            for record in map(self.work.source.records.__getitem__, positions):
                for index in sorted(self.work.classes_of(record, probabilities.get(record.image_id))):
                    yield record.image_id, index

    def outputs(self) -> tuple[WrittenMaps, list[str]]:
        """Write the probabilities of all chunks into one file; also the ids of images that could not be read."""
        predictions, unread, maps = self.folder.path("predictions.parquet"), list[str](), 0

        def read() -> Iterator[dict[str, NDArray[np.float64]]]:
            nonlocal maps
            for number, positions in enumerate(self.chunks):
                probabilities = self.parts.read(number)
                for record in map(self.work.source.records.__getitem__, positions):
                    if (known := probabilities.get(record.image_id)) is None:
                        unread.append(record.image_id)
                    else:
                        maps += len(self.work.classes_of(record, known))
                yield probabilities

        join_predictions(predictions, read(), self.work.source.classes)
        names = ", ".join(unread[:SHOWN]) + (", ..." if len(unread) > SHOWN else "")
        images = len(self.work.source.records) - len(unread)
        notes = [f"{counted(len(unread), 'image')} could not be read, and so left out: {names}"] if unread else []
        return WrittenMaps(images=images, maps=maps, predictions=predictions, notes=notes), unread


def write_maps(work: MapsWork, folder: RunFolder, model: str, address: str | None) -> WrittenMaps:
    """Write the maps where the config says, or continue that.

    Args:
        folder: Of the run, for what has no other location; it says how far an interrupted run has come.
        model: What to call the model in the store's metadata.
        address: A Ray cluster that does it.

    Raises:
        AttnError: There is no map to write, or the location cannot be written.
    """
    config = work.config
    with worker_pool(
        _Predictor,
        work,
        address=address,
        tasks=config.tasks,
        gpu=config.device != "cpu",
        helpers=config.data_workers,
    ) as pool:
        run = _Run(work, folder, pool)
        if isinstance(config.output, PngOutput):
            outputs = _write_pngs(run, config.output)
        else:
            assert isinstance(config.output, StoreOutput)
            outputs = _write_store(run, config.output, model)
    run.parts.remove()
    return outputs


def _write_pngs(run: _Run, output: PngOutput) -> WrittenMaps:
    source, png = run.work.source, output.location or run.folder.path("png")
    write_bytes(join(png, CLASSES_FILE), classes_file(source.classes))
    write_bytes(join(png, IMAGES_TABLE), images_table(source.records))
    for _ in run.do("maps", run.parts.numbers(), parts=True, sink=PngSink(png)):
        pass
    return replace(run.outputs()[0], png=png)


def _write_store(run: _Run, output: StoreOutput, model: str) -> WrittenMaps:
    work, config = run.work, run.work.config
    predicts = config.classes != "labels"
    if predicts:  # a store's rows are fixed when it is made: what is predicted must be known by then
        for _ in run.do("predictions", run.parts.numbers(), parts=True):
            pass
    rows = run.rows()
    if (first := next(rows, None)) is None:
        raise DataError(f"there is no map to write: no image has {'one' if predicts else 'a label'}")
    size = (config.input.size, config.input.size) if isinstance(config.input.size, int) else config.input.size
    architecture = work.bundle.network.config
    largest = scaled_size(size, max(config.scales), architecture.output_stride)
    opened = store.create(
        output.location or run.folder.path("store"),
        rows=itertools.chain([first], rows),
        grid=output.grid or (work.refiner.store_grid if work.refiner else MapSize(architecture, work.layer)(largest)),
        classes=work.source.classes,
        fingerprint=work.source.fingerprint(),
        exist_ok=True,
    )
    done = StoreProgress.begin(run.folder, opened, PROGRESS, work.digest)
    session = done.session
    for one in run.do("maps", set(done.done), parts=not predicts, sink=StoreSink(session, opened.grid)):
        assert one.delta is not None, "a store's sink gives one"
        done.add(one.number, {}, one.delta)
    outputs, unread = run.outputs()
    run.folder.write(IMAGES_TABLE, images_table(work.source.records))
    expected = np.ones(len(opened.rows), bool)
    for image_id in unread:
        expected[slice(*opened.rows.find(image_id))] = False
    version = session.commit(
        0,
        done.waiting,
        expected=np.flatnonzero(expected),
        map=ray_map if run.pool.on_ray else map,
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
