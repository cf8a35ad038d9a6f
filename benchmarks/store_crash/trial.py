"""One run on a small store, the way in which training uses it, and what must be left of it after a crash.

Shapes: N rows, h×w grid.
"""

from __future__ import annotations

__all__ = ["Checkpoint", "Trial", "attempt", "create", "inspect"]

import dataclasses
import json
import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from attn import store as maps
from attn.store.backends import connect
from attn.store.errors import FencedError
from attn.store.protocol import failpoints
from attn.store.protocol.leases import DAY_S

GRID = (5, 6)
EPOCHS = 3
STEPS = 4
HALF = 2
"""Steps of an epoch after which there is a checkpoint within it."""


@dataclass(frozen=True)
class Trial:
    """One run and the ways in which its attempts end.

    Attributes:
        uri: Of the store: a folder or `s3://`.
        folder: Of the checkpoint and what the trial notes.
        naive: Merge whatever lies in the epoch's folder.
    """

    uri: str
    folder: Path
    seed: int
    naive: bool = False

    @property
    def rows(self) -> list[tuple[str, int]]:
        """About sixty (image, class) pairs in several shards."""
        rng = random.Random(self.seed)
        classes = [sorted(rng.sample(range(6), rng.choice((1, 2, 3)))) for _ in range(32)]
        return [(f"i{number:03d}", index) for number, own in enumerate(classes) for index in own]

    @property
    def fusion(self) -> str:
        return "mean" if self.seed % 3 == 2 else "max"

    @property
    def world(self) -> int:
        return 1 + self.seed % 3


@dataclass
class Checkpoint:
    """What a checkpoint holds.

    Attributes:
        done: Steps of the epoch after the last committed one that are in it.
        history: (attempt, epoch, step) of every step in it.
        durable: The versions that it and the checkpoints before it name.
    """

    version: int = 0
    epoch: int = 0
    done: int = 0
    history: list[tuple[int, int, int]] = field(default_factory=list)
    durable: list[int] = field(default_factory=list)

    @classmethod
    def read(cls, trial: Trial) -> Checkpoint:
        path = trial.folder / "checkpoint.json"
        return cls(**json.loads(path.read_text())) if path.exists() else cls()

    def report(self, trial: Trial, attempt: int) -> None:
        """Make it the newest durable checkpoint, unless its attempt is over."""
        part = trial.folder / f"checkpoint.{attempt}.part"
        part.write_text(json.dumps(dataclasses.asdict(self)))
        failpoints.hit("checkpoint.writing")
        if int((trial.folder / "attempt").read_text()) != attempt:
            raise FencedError("the controller takes no report of this attempt")
        part.replace(trial.folder / "checkpoint.json")
        failpoints.hit("checkpoint.durable")


def step_rows(trial: Trial, epoch: int, step: int) -> NDArray[np.int64]:
    """The rows that a step sees; an epoch's steps see every image once."""
    order = np.random.default_rng([trial.seed, epoch]).permutation(len(trial.rows))
    return np.sort(np.array_split(order, STEPS)[step])


def step_maps(trial: Trial, attempt: int, epoch: int, step: int, count: int) -> NDArray[np.uint8]:
    """(count, h, w) maps of a step, other ones in each attempt."""
    rng = np.random.default_rng([trial.seed, attempt, epoch, step])
    return (rng.integers(0, 256, (count, *GRID)) * (rng.random((count, *GRID)) < 0.4)).astype(np.uint8)


def create(trial: Trial) -> None:
    """Make the trial's store."""
    maps.create(trial.uri, rows=trial.rows, grid=GRID, fusion=trial.fusion, shard_rows=16)


def attempt(trial: Trial, number: int) -> None:
    """One attempt at the run, from the last durable checkpoint to the end."""
    rng = random.Random(f"{trial.seed} {number}")
    opened = maps.open(trial.uri)
    result = Checkpoint.read(trial)
    session = opened.begin("run", from_version=result.version)
    while result.epoch < EPOCHS:
        writers = [session.writer(rank, limit_bytes=rng.choice((None, 300))) for rank in range(trial.world)]
        stop = HALF if result.done < HALF else STEPS
        for step in range(result.done, stop):
            rows = step_rows(trial, result.epoch, step)
            values = step_maps(trial, number, result.epoch, step, len(rows))
            for rank, writer in enumerate(writers):
                mine = slice(rank, None, trial.world)
                writer.add_many(rows[mine], values[mine])
            result.history.append((number, result.epoch, step))
        refs = [writer.seal(result.epoch) for writer in writers]
        if trial.naive:
            refs = _whatever_lies_there(trial, session, result.epoch, refs)
        ends = stop == STEPS
        promised = None if trial.naive else len(trial.rows)
        result.version = session.commit(
            result.epoch, refs, pending=not ends, tentative=True, expected=promised if ends else None
        )
        result.epoch, result.done = (result.epoch + 1, 0) if ends else (result.epoch, stop)
        result.durable.append(result.version)
        result.report(trial, number)
        # The job publishes a version when the next checkpoint shows that this one's is certain.
        session.publish(result.version if rng.random() < 0.5 else None)
        if rng.random() < 0.5:
            _collect(trial, rng.choice((1, 2)))


def _whatever_lies_there(
    trial: Trial, session: maps.Session, epoch: int, refs: Sequence[maps.DeltaRef]
) -> list[maps.DeltaRef]:
    """All deltas that any attempt has sealed in an epoch."""
    folder = trial.folder / f"epoch{epoch}"
    folder.mkdir(exist_ok=True)
    for ref in refs:
        text = json.dumps(dataclasses.asdict(ref))
        (folder / f"{session.attempt}-{len(list(folder.iterdir()))}.json").write_text(text)
    results = [TypeAdapter(maps.DeltaRef).validate_json(path.read_text()) for path in sorted(folder.iterdir())]
    return [dataclasses.replace(ref, attempt=session.attempt) for ref in results]


def _collect(trial: Trial, keep: int) -> None:
    """Collect garbage by a clock that is two days ahead, so that everything is old enough."""
    backend = connect(trial.uri)
    ahead = type("Ahead", (type(backend),), {"now": lambda self: time.time() + 2 * DAY_S})
    maps.open(ahead(**vars(backend))).gc(dry_run=False, keep=keep)


def truth(trial: Trial, history: Sequence[tuple[int, int, int]], folder: Path) -> maps.Snapshot:
    """The store into which a history alone was written, by one writer without any trouble."""
    clean = maps.create(str(folder), rows=trial.rows, grid=GRID, fusion=trial.fusion)
    session = clean.begin("truth")
    version = 0
    for epoch in sorted({epoch for _, epoch, _ in history}):
        writer = session.writer(0)
        for made_by, _, step in [entry for entry in history if entry[1] == epoch]:
            rows = step_rows(trial, epoch, step)
            writer.add_many(rows, step_maps(trial, made_by, epoch, step, len(rows)))
        version = session.commit(epoch, [writer.seal(epoch)])
    return clean.at(version)


def expected_maps(trial: Trial, history: Sequence[tuple[int, int, int]]) -> NDArray[np.uint8]:
    """The same by NumPy alone: (rows, h, w)."""
    epochs = sorted({epoch for _, epoch, _ in history})
    result = np.zeros((len(epochs), len(trial.rows), *GRID), np.uint8)
    for made_by, epoch, step in history:
        rows = step_rows(trial, epoch, step)
        index = epochs.index(epoch)
        result[index, rows] = np.maximum(result[index, rows], step_maps(trial, made_by, epoch, step, len(rows)))
    if not epochs:
        return np.zeros((len(trial.rows), *GRID), np.uint8)
    return result.max(0) if trial.fusion == "max" else np.rint(result.mean(0)).astype(np.uint8)


def inspect(trial: Trial, *, final: bool) -> list[str]:
    """What of the last durable checkpoint's version is not as its history says, or what a reader sees beside it."""
    result = Checkpoint.read(trial)
    opened = maps.open(trial.uri)
    snapshot = opened.at(result.version)
    merged = [entry for entry in result.history if entry[1] < result.epoch]
    faults: list[str] = []
    _, stored = snapshot.rows(0, len(trial.rows))
    wrong = int((stored != expected_maps(trial, merged)).any((1, 2)).sum())
    if wrong:
        faults.append(f"version {result.version} has {wrong} wrong maps of {len(trial.rows)}")
    if (seen := opened.newest().version) not in (0, *result.durable):
        faults.append(f"a reader gets version {seen}, which no durable checkpoint names: those name {result.durable}")
    faults += opened.verify().faults
    if final:
        with tempfile.TemporaryDirectory() as folder:
            if snapshot.digest() != truth(trial, result.history, Path(folder, "store")).digest():
                faults.append("the digest is not that of the surviving history")
        if result.epoch != EPOCHS:
            faults.append(f"ended in epoch {result.epoch}")
    return faults
