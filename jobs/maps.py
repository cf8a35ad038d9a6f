"""Write a trained model's attention maps for any data, into a map store or as PNGs: in this process or by Ray tasks."""

from __future__ import annotations

__all__ = ["resume", "run"]

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from attn import store
from attn.config.document import dump_values, read_document
from attn.config.resolve import resolve
from attn.data.classes import check_classes
from attn.data.dataset import AttentionDataset
from attn.data.loader import build_loader
from attn.data.source import Source
from attn.errors import DataError
from attn.evaluation.inference import ImageMaps, image_maps
from attn.evaluation.predictions import write_predictions
from attn.files.class_names import CLASSES_FILE, classes_file
from attn.files.locations import join, within
from attn.files.transfer import write_bytes
from attn.maps.attention import MapKind
from attn.models.bundle import Bundle
from attn.models.device import choose_device
from attn.models.map_size import MapSize
from attn.runs.maps import MapsConfig, PngOutput, StoreOutput
from attn.store import DeltaRef, Session, Writer
from attn.training.inputs import check_input
from jobs.ray_cluster.session import ray_session
from jobs.ray_cluster.tasks import Counter, on_ray
from jobs.runs.lifecycle import begin_or_continue, resolved_overrides, target_of
from jobs.runs.open_model import open_model, resize_text
from jobs.runs.run_folder import RunFolder, new_run_id

SHOWN = 8
CHUNK = 256
"""Images of a task on a cluster."""
BUFFER_BYTES = 256 << 20
"""Of maps that wait in a task."""


def run(model: str, overrides: list[str], *, run_id: str | None = None, address: str | None = None) -> dict[str, Any]:
    """Write the maps of a model.

    Args:
        model: A bundle's folder, a run's id or folder, or a registered model as `name@alias` or `name/version`.
        overrides: `a.b=value`, over the model's own data and input.
        run_id: Name of the job's folder; what lies there of an interrupted one is written again.
        address: A Ray cluster whose tasks share the images; without one, this process does it all, or as many tasks on
            this machine as the config asks for.

    Returns:
        `run_id`, `folder`, `model`, `images`, `maps`, `predictions` (file), `notes`, `tracking_run`, `seconds`; and
        `store` and `store_version`, or `png` (folder).

    Raises:
        AttnError: Model, config and data do not fit, or the place cannot be written; the text says where.
    """
    clock = time.monotonic()
    with open_model(model, overrides) as bundle:
        config = resolve_config(bundle, overrides, f"{model}: config.yaml")
    job = _job(bundle, config)
    chunks = _chunks(config, len(job.source.records), on_cluster=address is not None)
    folder = RunFolder(config.root, run_id or new_run_id("maps"))
    work = {"model": model, "target": model, "weights": bundle.sha256}
    tags = {"attn.model": model, "attn.weights": bundle.sha256}
    with begin_or_continue("maps", config, folder, recorded=config, work=work, tags=tags) as live:
        result = _write(job, chunks, folder, model, address)
        live.outputs |= result
    return {
        "run_id": folder.run_id,
        "folder": folder.uri,
        "model": model,
        **result,
        "tracking_run": live.tracking_run,
        "seconds": round(time.monotonic() - clock, 1),
    }


def resume(name: str, *, root: str = "runs", address: str | None = None) -> dict[str, Any]:
    """Write again what was interrupted, by the config that it began with."""
    folder = RunFolder.of(name, root)
    return run(target_of(folder), resolved_overrides(folder), run_id=folder.run_id, address=address)


def resolve_config(bundle: Bundle, overrides: list[str], name: str) -> MapsConfig:
    """The job's config: the training data and input of the model's own run, changed by the overrides.

    Args:
        name: What to call the model's config in messages.

    Raises:
        ConfigError: With all faults.
    """
    text: dict[str, Any] = {
        "tracking": {"enabled": False},
        "input": json.loads(bundle.input.model_dump_json()),
        "output": {"kind": "store"},
    }
    if bundle.config_file.is_file():
        trained = read_document(bundle.config_file.read_text(encoding="utf-8"), name).values
        text |= {"data": trained["data"]} if "data" in trained else {}
    return resolve(MapsConfig, dump_values(text), name, overrides)


@dataclass(frozen=True)
class _Job:
    """What every task needs to know; it is pickled for those of other processes."""

    bundle: Bundle
    config: MapsConfig
    source: Source
    map_kind: MapKind
    layer: str

    def images(self, positions: range, *, maps: bool, grid: tuple[int, int] | None = None) -> Iterator[ImageMaps]:
        """What the network makes of some of the images, each once."""
        config, device = self.config, choose_device(self.config.device)
        network = self.bundle.network.to(device)
        size = 1 if config.input.resize == "short_side" else config.batch_size  # only equal inputs make a batch
        batches = [positions[start : start + size] for start in range(0, len(positions), size)]
        dataset, seen = AttentionDataset(self.source, config.input, train=False), set[str]()
        for batch in build_loader(dataset, batches, workers=config.data_workers):
            for found in image_maps(
                network,
                batch.to(device),
                kind=self.map_kind,
                layer=self.layer,
                labels=config.classes != "predicted",
                predicted=config.classes != "labels",
                probability=config.probability,
                maps=maps,
                grid=grid,
                kept=True,
            ):
                if found.record.image_id not in seen:
                    seen.add(found.record.image_id)
                    yield found


def _job(bundle: Bundle, config: MapsConfig) -> _Job:
    layer = config.layer or bundle.layer
    bundle.network.expose(layer)
    source = config.data.build(labels=config.classes != "predicted")
    check_classes(bundle.classes, source.classes)
    check_input(bundle.network, config.input)
    if not source.records:
        raise DataError(f"data.split={config.data.split!r} has no images")
    return _Job(bundle, config, source, config.map_kind or bundle.map_kind, layer)


def _chunks(config: MapsConfig, images: int, *, on_cluster: bool) -> list[range]:
    tasks = config.tasks or (-(-images // CHUNK) if on_cluster else 1)
    size = -(-images // tasks)
    return [range(start, min(start + size, images)) for start in range(0, images, size)]


class _Sink(Protocol):
    """Where one task's maps go.

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
class _Written:
    """What one task has done."""

    maps: int
    probabilities: dict[str, NDArray[np.float64]]
    delta: DeltaRef | None = None


@dataclass(frozen=True)
class _Task:
    """Some of the images, and what is to be done with them."""

    positions: range
    sink: _Sink | None = field(default=None)


def _do(job: _Job, task: _Task, told: Callable[[int], None]) -> _Written:
    """Predict, and write the maps where there is somewhere to write them.

    Args:
        told: Is given the number of images that are done, again and again.
    """
    sink, count, probabilities = task.sink, 0, dict[str, NDArray[np.float64]]()
    grid = None if sink is None else sink.grid
    for image in job.images(task.positions, maps=sink is not None, grid=grid):
        assert image.probabilities is not None
        probabilities[image.record.image_id] = image.probabilities
        if sink is not None:
            sink.add(image)
            count += len(image.maps)
        told(len(probabilities))
    return _Written(count, probabilities, None if sink is None else sink.close())


def _write(job: _Job, chunks: Sequence[range], folder: RunFolder, model: str, address: str | None) -> dict[str, Any]:
    output = job.config.output
    if isinstance(output, PngOutput):
        png = output.location or folder.path("png")
        write_bytes(join(png, CLASSES_FILE), classes_file(job.source.classes))
        tasks = [_Task(chunk, _PngSink(png)) for chunk in chunks]
        written = _run_tasks(job, tasks, address, "maps")
        return _result(job, folder, written) | {"png": png}
    assert isinstance(output, StoreOutput)
    return _write_store(job, output, chunks, folder, model, address)


def _write_store(
    job: _Job, output: StoreOutput, chunks: Sequence[range], folder: RunFolder, model: str, address: str | None
) -> dict[str, Any]:
    config, records = job.config, job.source.records
    rows = {(record.image_id, label) for record in records for label in record.labels if config.classes != "predicted"}
    if config.classes != "labels":  # a store's rows are fixed when it is made: what is predicted must be known by then
        tasks = [_Task(chunk) for chunk in chunks]
        found = _run_tasks(job, tasks, address, "predictions")
        rows |= {
            (name, int(index))
            for part in found
            for name, values in part.probabilities.items()
            for index in np.flatnonzero(values > config.probability)
        }
    if not rows:
        raise DataError(f"there is no map to write: no image has {'a label' if config.classes == 'labels' else 'one'}")
    size = (config.input.size, config.input.size) if isinstance(config.input.size, int) else config.input.size
    made = store.create(
        output.location or folder.path("store"),
        rows=rows,
        grid=output.grid or MapSize(job.bundle.network.config, job.layer)(size),
        classes=job.source.classes,
        fingerprint=job.source.fingerprint(),
        exist_ok=True,
    )
    session = made.begin(folder.run_id)
    tasks = [_Task(chunk, _StoreSink(session, rank, made.grid)) for rank, chunk in enumerate(chunks)]
    written = _run_tasks(job, tasks, address, "maps")
    result = _result(job, folder, written)
    readable = {name for part in written for name in part.probabilities}
    version = session.commit(
        0,
        [part.delta for part in written if part.delta is not None],
        expected=sorted(row for row in rows if row[0] in readable),
        metadata={
            "model": model,
            "weights": job.bundle.sha256,
            "map_kind": job.map_kind,
            "layer": job.layer,
            "resize": resize_text(config.input),
            "classes": config.classes,
            "predictions": result["predictions"],
        },
    )
    session.publish(version)
    return result | {"store": made.uri, "store_version": version}


def _run_tasks(job: _Job, tasks: Sequence[_Task], address: str | None, what: str) -> list[_Written]:
    """Do the tasks: one here, several on Ray."""
    with Counter(what, len(job.source.records)) as counter:
        if len(tasks) == 1:
            return [_do(job, tasks[0], counter)]
        with ray_session(address):
            return on_ray(partial(_do, told=_nobody), job, tasks, counter, gpu=job.config.device != "cpu")


def _nobody(_: int) -> None:
    """A task elsewhere is counted when it is done."""


def _result(job: _Job, folder: RunFolder, written: Sequence[_Written]) -> dict[str, Any]:
    probabilities = {name: values for part in written for name, values in part.probabilities.items()}
    unread = [record.image_id for record in job.source.records if record.image_id not in probabilities]
    names = ", ".join(unread[:SHOWN]) + (", ..." if len(unread) > SHOWN else "")
    predictions = folder.path("predictions.parquet")
    write_predictions(predictions, probabilities, job.source.classes)
    return {
        "images": len(probabilities),
        "maps": sum(part.maps for part in written),
        "predictions": predictions,
        "notes": [f"{len(unread)} images could not be read and have no maps: {names}"] if unread else [],
    }
