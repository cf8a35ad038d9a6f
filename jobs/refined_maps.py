"""Refine the maps of a map store into another one, by this process or a pool of others.

The images are done in chunks, and an interrupted run continues with the chunks that it lacks.
"""

from __future__ import annotations

__all__ = ["RefineWork", "RefinedMaps", "refine_store"]

import os
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch

from attn import progress, store
from attn.config.base import is_remote
from attn.data.classes import check_classes
from attn.data.images_table import IMAGES_TABLE, images_table
from attn.data.source import Source
from attn.errors import DataError
from attn.evaluation.refined import described_after, refine_by_labels
from attn.maps.refine import Refiner, at_grid
from attn.models.device import choose_device
from attn.runs.maps import StoredMapsConfig
from attn.runs.result import JsonResult
from attn.store import DeltaRef, MapStore, Session, Snapshot
from attn.store.format.algebra import FALLBACK, NONE
from attn.store.format.manifest import Manifest
from attn.wording import counted
from jobs.ray_cluster.merge_tasks import ray_map
from jobs.ray_cluster.worker_pool import Report, worker_pool
from jobs.runs.run_folder import RunFolder
from jobs.runs.store_progress import StoreProgress

CHUNK = 128
"""Images of a chunk: with a transformer, about a minute of one core."""
BUFFER_BYTES = 256 << 20
"""Of maps that wait in a process."""
SHOWN = 8
PROGRESS = "refined chunks"
"""Key of a tentative version's metadata."""


@dataclass(frozen=True)
class RefineWork:
    """Input of all processes."""

    store: MapStore
    snapshot: Snapshot
    source: Source
    refiner: Refiner
    config: StoredMapsConfig

    @classmethod
    def of(cls, opened: MapStore, snapshot: Snapshot, source: Source, config: StoredMapsConfig) -> Self:
        """The work that a config asks for.

        Raises:
            AttnError: Store and data do not belong together, or the refinement lacks something.
        """
        if opened.definition.classes:
            check_classes(opened.definition.classes, source.classes, what=opened.uri)
        if config.output.location == (opened.uri if is_remote(opened.uri) else os.path.abspath(opened.uri)):
            raise DataError(
                f"output.location={opened.uri} holds the maps that are to be refined: choose another location"
            )
        if not snapshot.coverage + snapshot.manifest.fallback:
            raise DataError(
                f"version {snapshot.version} of {opened.uri} has no maps yet; `attn store show` lists versions"
            )
        bare = [record.image_id for record in source.records if record.image_id not in snapshot]
        labelled = {record.image_id for record in source.records if record.labels}
        if len(bare) == len(source.records) or (labelled.intersection(bare) and not _of_predicted(snapshot)):
            names = sorted(labelled.intersection(bare) or bare)
            raise DataError(
                f"{opened.uri} has no rows for {len(names)} of {len(source.records)} images, {names[0]!r} the first of "
                "them: give the data that its maps are of"
            )
        return cls(opened, snapshot, source, config.refine.open(torch.device("cpu")), config)

    @property
    def description(self) -> dict[str, Any]:
        """The refinement, and the one that the maps have had before, if there was one."""
        before = self.snapshot.manifest.metadata.get("refinement")
        return described_after(self.refiner, before)

    @property
    def rows(self) -> list[tuple[str, int]]:
        """The store's rows of the data's images."""
        return [
            (record.image_id, int(index))
            for record in self.source.records
            for index in self.store.rows.classes[slice(*self.store.rows.find(record.image_id))]
        ]

    def accepted(self, rows: list[tuple[str, int]], unread: set[str]) -> list[tuple[str, int]]:
        """The rows that have a map, of images that could be read."""
        levels = np.concatenate([levels for _, levels, _ in self.snapshot.shards()])
        numbers = self.store.rows.numbers(rows)
        return [row for row, level in zip(rows, levels[numbers], strict=True) if level != NONE and row[0] not in unread]

    def chunks(self) -> list[range]:
        images = len(self.source.records)
        size = min(CHUNK, -(-images // (self.config.tasks or 1)))
        return [range(start, min(start + size, images)) for start in range(0, images, size)]


@dataclass(frozen=True)
class _Chunk:
    number: int
    positions: range
    session: Session
    grid: tuple[int, int]


@dataclass(frozen=True)
class _Refined:
    """The result of a chunk; `unread` are the ids of images that could not be read."""

    number: int
    maps: int
    unread: tuple[str, ...]
    delta: DeltaRef


@dataclass(frozen=True)
class RefinedMaps(JsonResult):
    """The new store: `jobs.maps.MapsResult` describes the fields."""

    images: int
    maps: int
    notes: list[str]
    store: str
    store_version: int


def _of_predicted(snapshot: Snapshot) -> bool:
    """Whether there are maps of predicted classes alone."""
    return snapshot.manifest.metadata.get("classes") == "predicted"


class _Refiner:
    """Refines the maps of some of the images after the other, in a process of the pool."""

    def __init__(self, work: RefineWork) -> None:
        self.work, self.refiner = work, work.refiner.to(choose_device(work.config.device))
        self.session: Session | None = None

    def __call__(self, chunk: _Chunk, report: Report) -> _Refined:
        if self.session is None:  # a copy, which reads the rows of its store once
            self.session = chunk.session
        work, refiner, rows = self.work, self.refiner, self.work.store.rows
        writer = self.session.writer(chunk.number, limit_bytes=BUFFER_BYTES)
        maps, unread = 0, list[str]()
        for done, position in enumerate(chunk.positions, 1):
            record = work.source.records[position]
            start, stop = rows.find(record.image_id)
            levels, stored = work.snapshot.rows(start, stop)
            levels_of = dict(zip(rows.classes[start:stop].tolist(), levels.tolist(), strict=True))
            written = {
                index: values for (index, level), values in zip(levels_of.items(), stored, strict=True) if level != NONE
            }
            if written:
                try:
                    image = work.source.load(position, mask=False, saliency=False).image
                except DataError:
                    if work.source.on_error == "raise":
                        raise
                    unread.append(record.image_id)
                    continue
                labels = () if _of_predicted(work.snapshot) else record.labels
                for index, values in refine_by_labels(refiner, image, written, labels).items():
                    fallback = levels_of[index] == FALLBACK
                    writer.add(record.image_id, index, at_grid(values, chunk.grid), fallback=fallback)
                    maps += 1
            report(done)
        return _Refined(chunk.number, maps, tuple(unread), writer.seal())


def refine_store(work: RefineWork, folder: RunFolder, name: str, address: str | None) -> RefinedMaps:
    """Refine the maps of a store into another one, or continue that.

    Args:
        folder: Of the run; its state says how far an interrupted one has come.
        name: What to call the maps in the new store's metadata.

    Raises:
        AttnError: There is no map to refine, or the location cannot be written.
    """
    rows, chunks, output = work.rows, work.chunks(), work.config.output
    if not rows:
        raise DataError("there is no map to refine: no image of the data has one")
    opened = store.create(
        output.location or folder.path("store"),
        rows=rows,
        grid=output.grid or work.refiner.store_grid,
        classes=work.source.classes,
        fingerprint=work.source.fingerprint(),
        exist_ok=True,
    )
    done = StoreProgress.begin(folder, opened, PROGRESS, len(chunks[0]))
    session = done.session
    numbers = [number for number in range(len(chunks)) if number not in done.done]
    todo = [_Chunk(number, chunks[number], session, opened.grid) for number in numbers]
    images, before = len(work.source.records), sum(len(chunks[number]) for number in done.done)
    gpu = work.config.device != "cpu"
    with (
        progress.task("refining maps", images, "images") as reported,
        worker_pool(_Refiner, work, address=address, tasks=work.config.tasks, gpu=gpu) as pool,
    ):
        reported.kept = before
        for one in pool.run(todo, lambda images: reported.update(before + images)):
            done.add(one.number, {"maps": one.maps, "unread": list(one.unread)}, one.delta)
        unread = {image_id for one in done.done.values() for image_id in one["unread"]}
        number = session.commit(
            0,
            done.waiting,
            expected=work.accepted(rows, unread),
            map=ray_map if pool.on_ray else map,
            metadata={
                **Manifest.with_mark(work.snapshot.manifest.metadata, tentative=False),
                "refinement": work.description,
                "refined": name,
            },
        )
    session.publish(number)
    folder.write(IMAGES_TABLE, images_table(work.source.records))
    names = ", ".join(sorted(unread)[:SHOWN]) + (", ..." if len(unread) > SHOWN else "")
    return RefinedMaps(
        images=images - len(unread),
        maps=sum(one["maps"] for one in done.done.values()),
        notes=[f"{counted(len(unread), 'image')} could not be read, and so left out: {names}"] if unread else [],
        store=opened.uri,
        store_version=number,
    )
