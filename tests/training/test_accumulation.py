"""Accumulation of a run's maps against plain NumPy and the published algorithm, and what a restart does to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from attn import store as map_store
from attn.data.geometry import Geometry
from attn.data.sample import Batch, Record
from attn.maps import pairs_of
from attn.methods.base import StepMaps
from attn.runs.recipes import load_config
from attn.store import CoverageError, MapStore
from attn.store.format.algebra import FALLBACK
from attn.training.accumulation import Accumulator, create_store
from attn.training.classifier import build_components
from attn.training.config import StoreConfig
from attn.training.train_config import TrainConfig
from attn.training.world import TrainingStopped, World

ALONE = World(0, 1, torch.device("cpu"))
CLASSES = 4
Maps = dict[tuple[str, int], NDArray[np.float64]]


@dataclass
class Step:
    """One step's images, and what a network made of them."""

    batch: Batch
    maps: torch.Tensor
    logits: torch.Tensor

    def rows(self) -> Iterator[tuple[int, int, int]]:
        """Number of the map, image and class."""
        for number, (image, label) in enumerate(pairs_of(self.batch.labels).tolist()):
            yield number, image, label


def make_records(count: int) -> list[Record]:
    rng = np.random.default_rng(7)
    labels = [tuple(sorted(rng.choice(CLASSES, rng.integers(0, 4), replace=False).tolist())) for _ in range(count)]
    return [Record(f"image-{number:02d}", item) for number, item in enumerate(labels)]


def make_step(
    records: list[Record], rng: np.random.Generator, map_size: tuple[int, int] = (5, 6), *, whole: bool = False
) -> Step:
    labels = torch.zeros(len(records), CLASSES)
    for row, record in enumerate(records):
        labels[row, list(record.labels)] = 1
    count = len(pairs_of(labels))
    geometry = []
    for _ in records:
        flip, crop = bool(rng.integers(2)), (0, 0, 40, 50)
        if not whole and rng.random() < 0.7:
            crop = tuple(rng.integers((-4, -4, 10, 10), (20, 25, 30, 30)).tolist())
        geometry.append(Geometry((40, 50), crop, (32, 32), flip))
    maps = rng.random((count, *map_size)) * rng.integers(0, 9, (count, 1, 1))  # some are zero everywhere
    images = torch.zeros(len(records), 3, 1, 1)
    none = torch.zeros((0, 2), dtype=torch.int64)
    batch = Batch(
        tuple(range(len(records))), tuple(records), images, labels, tuple(geometry), none, images.new_zeros((0, 1, 1))
    )
    return Step(batch, torch.from_numpy(maps), torch.from_numpy(rng.normal(size=(len(records), CLASSES))))


def make_epochs(records: list[Record], epochs: int, seed: int = 0, **options: Any) -> list[list[Step]]:
    """Steps of three images; each epoch in its own order, whatever the seed, filled up with its first images."""
    rng = np.random.default_rng(seed)
    results = []
    for epoch in range(epochs):
        order = np.random.default_rng(epoch).permutation(len(records)).tolist()
        order += order[: -len(order) % 3]
        starts = range(0, len(order), 3)
        results.append([make_step([records[i] for i in order[start : start + 3]], rng, **options) for start in starts])
    return results


def make_store(place: Path, records: list[Record], grid: tuple[int, int] = (7, 6), fusion: str = "max") -> MapStore:
    rows = [(record.image_id, label) for record in records for label in record.labels]
    return map_store.create(str(place), rows=rows, grid=grid, fusion=fusion)


def accumulate(accumulator: Accumulator, steps: list[Step], epoch: int) -> None:
    for step in steps:
        if accumulator.wants(epoch):
            accumulator.add(step.batch, StepMaps(step.maps, step.logits), epoch)


def run_all(store: MapStore, epochs: list[list[Step]], settings: dict[str, Any]) -> list[dict[str, float]]:
    accumulator = Accumulator(StoreConfig(accumulate=True, **settings), store, "run", ALONE, len(epochs))
    accumulator.begin(None)
    results = []
    for epoch, steps in enumerate(epochs):
        accumulate(accumulator, steps, epoch)
        results.append(accumulator.finish_epoch(epoch))
    accumulator.publish(accumulator.version)
    return results


def seen_from(map_hw: NDArray[np.float64], place: Geometry, grid: tuple[int, int]) -> NDArray[np.float64]:
    """A map over an input, read at the centres of a grid over the whole image, one by one; NaN outside the input."""
    out = np.full(grid, np.nan)
    top, left, height, width = place.crop
    cells_h, cells_w = map_hw.shape
    for row in range(grid[0]):
        for column in range(grid[1]):
            y = ((row + 0.5) / grid[0] * place.image_size[0] - top) / height
            x = ((column + 0.5) / grid[1] * place.image_size[1] - left) / width
            if not (0 <= y < 1 and 0 <= x < 1):
                continue
            x = 1 - x if place.flip else x
            y, x = np.clip(y * cells_h - 0.5, 0, cells_h - 1), np.clip(x * cells_w - 0.5, 0, cells_w - 1)
            i, j = int(y), int(x)
            k, m = min(i + 1, cells_h - 1), min(j + 1, cells_w - 1)
            upper = map_hw[i, j] * (1 - (x - j)) + map_hw[i, m] * (x - j)
            lower = map_hw[k, j] * (1 - (x - j)) + map_hw[k, m] * (x - j)
            out[row, column] = upper * (1 - (y - i)) + lower * (y - i)
    return out


def allowed(logits: NDArray[np.float64], labels: tuple[int, ...], label: int, rule: str) -> bool:
    if rule == "strict":
        return all(logits[label] > logits[other] for other in range(CLASSES) if other not in labels)
    return sum(logits > logits[label]) < len(labels)


@dataclass
class Reference:
    """What accumulation is, without a store. A position that an epoch's crops have not seen is NaN: it stays."""

    grid: tuple[int, int]
    settings: dict[str, Any]
    accepted: dict[tuple[str, int], list[NDArray[np.float64]]] = field(default_factory=dict)
    fallback: dict[tuple[str, int], NDArray[np.float64]] = field(default_factory=dict)
    metrics: list[dict[str, float]] = field(default_factory=list)

    def run(self, epochs: list[list[Step]]) -> None:
        for epoch, steps in enumerate(epochs):
            if epoch < self.settings.get("start_epoch", 1):
                self.metrics.append({})
                continue
            now: dict[tuple[str, int], NDArray[np.float64]] = {}
            dropped: set[tuple[str, int]] = set()
            for step in steps:
                for number, image, label in step.rows():
                    record, raw = step.batch.records[image], step.maps[number].numpy()
                    top = raw.max() or 1.0
                    framed = seen_from(raw / top, step.batch.geometry[image], self.grid)
                    value, key = np.rint(framed * 255), (record.image_id, label)
                    if allowed(step.logits[image].numpy(), record.labels, label, self.settings.get("gate", "strict")):
                        now[key] = np.fmax(now.get(key, value), value)
                    else:
                        dropped.add(key)
                        if epoch + 1 == len(epochs) and self.settings.get("fallback", "last") == "last":
                            self.fallback[key] = np.fmax(self.fallback.get(key, value), value)
            for key, value in now.items():
                self.accepted.setdefault(key, []).append(value)
            held = self.fallback.keys() - self.accepted.keys()
            self.metrics.append(
                {"store/accepted": len(now), "store/dropped": len(dropped - now.keys()), "store/fallback": len(held)}
            )

    def maps(self, fusion: str) -> Maps:
        """By eq. 5, or by eq. 10 with a t for each position; 0 at those that were never seen."""
        fused: Maps = {key: np.nan_to_num(value) for key, value in self.fallback.items()}
        for key, values in self.accepted.items():
            joined, t = np.zeros(self.grid), np.zeros(self.grid)
            for value in values:
                seen = ~np.isnan(value)
                t += seen
                for location in zip(*np.nonzero(seen), strict=True):
                    old, new = joined[location], value[location]
                    joined[location] = (
                        max(old, new) if fusion == "max" else ((t[location] - 1) * old + new) / t[location]
                    )
            fused[key] = np.rint(np.round(joined, 9))  # a half that eq. 10 misses by its own rounding is a half
        return fused


@pytest.mark.parametrize(
    ("settings", "fusion"),
    [
        ({}, "max"),
        ({}, "mean"),
        ({"gate": "top_k", "start_epoch": 0}, "max"),
        ({"gate": "top_k", "start_epoch": 2, "fallback": "none"}, "mean"),
        ({"fallback": "none"}, "max"),
    ],
    ids=str,
)
@pytest.mark.parametrize("grid", [(7, 6), (5, 6)], ids=str)
def test_a_run_leaves_what_numpy_makes_of_its_maps(
    tmp_path: Path, settings: dict[str, Any], fusion: str, grid: tuple[int, int]
) -> None:
    records = make_records(10)
    epochs = make_epochs(records, 4)
    store = make_store(tmp_path, records, grid, fusion)
    metrics = run_all(store, epochs, settings)
    reference = Reference(grid, settings)
    reference.run(epochs)
    assert metrics == reference.metrics
    expected, snapshot = reference.maps(fusion), store.at()
    for record in records:
        result = snapshot[record.image_id] if record.labels else {}
        for label in record.labels:
            value = expected.get((record.image_id, label), np.zeros(grid))
            np.testing.assert_array_equal(result.get(label, np.zeros(grid)), value)


@pytest.mark.parametrize(("fusion", "value"), [("max", 255), ("mean", 170)])
def test_what_crops_did_not_see_stays_as_it_was(tmp_path: Path, fusion: str, value: int) -> None:
    """A map of 1 everywhere, then two crops of the left half, whose maps are 1 at the left and 1/2 at their right."""
    records = [Record("a", (0,))]
    store = make_store(tmp_path, records, grid=(4, 8), fusion=fusion)
    steps = [make_step(records, np.random.default_rng(0), map_size=(4, 8), whole=True) for _ in range(3)]
    for step, crop in zip(steps, ((0, 0, 40, 50), (0, 0, 40, 25), (0, 0, 40, 25)), strict=True):
        step.batch = Batch(**{**vars(step.batch), "geometry": (Geometry((40, 50), crop, (32, 32)),)})
        step.logits = torch.tensor([[5.0, 0, 0, 0]])
        step.maps = torch.ones(1, 4, 8)
        if crop[3] == 25:
            step.maps[..., 4:] = 0.5
    run_all(store, [[step] for step in steps], {"start_epoch": 0})
    result = store.at()["a"][0]
    np.testing.assert_array_equal(result[:, 4:], 255)
    np.testing.assert_array_equal(result[:, :2], 255)
    np.testing.assert_array_equal(result[:, 2:4], value)


def published(folder: Path, epochs: list[list[Step]]) -> None:
    """The published algorithm: an 8-bit PNG per (image, class), read, joined and rewritten at each accepted visit."""
    for epoch, steps in enumerate(epochs):
        for step in steps if epoch > 0 else []:
            for number, image, label in step.rows():
                record, raw = step.batch.records[image], step.maps[number].numpy().astype(np.float32)
                path = folder / f"{record.image_id}_{label}.png"
                new = raw / (raw.max() or 1.0) * 255
                new = new[:, ::-1] if step.batch.geometry[image].flip else new
                best = np.argsort(-step.logits[image].numpy())[: len(record.labels)]
                if label in best:
                    old = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
                    cv2.imwrite(str(path), new if old is None else np.maximum(old, new))
                elif epoch + 1 == len(epochs) and not path.exists():
                    cv2.imwrite(str(path), new)


def test_gives_the_bytes_of_the_published_program(tmp_path: Path) -> None:
    records = make_records(12)
    epochs = make_epochs(records, 4, seed=3, whole=True)
    for steps in epochs:
        for step in steps:
            step.maps = step.maps.float()
    folder = tmp_path / "png"
    folder.mkdir()
    published(folder, epochs)
    store = make_store(tmp_path / "store", records, grid=(5, 6))
    run_all(store, epochs, {"gate": "top_k"})
    files = sorted(path.name for path in folder.iterdir())
    assert files == sorted(f"{image_id}_{label}.png" for image_id, label in store.rows)
    snapshot = store.at()
    for image_id, label in store.rows:
        written = cv2.imread(str(folder / f"{image_id}_{label}.png"), cv2.IMREAD_GRAYSCALE)
        assert written is not None
        np.testing.assert_array_equal(snapshot[image_id].get(label, np.zeros((5, 6))), written)


def test_what_a_restart_throws_away_leaves_no_trace(tmp_path: Path) -> None:
    """Steps after the checkpoint are done again with other maps, as on another number of workers.

    A reader beside it never gets a version that no durable checkpoint names.
    """
    records, settings = make_records(9), StoreConfig(accumulate=True, start_epoch=0)
    kept, lost = make_epochs(records, 3, seed=1), make_epochs(records, 3, seed=2)

    calm = make_store(tmp_path / "calm", records)
    run_all(calm, kept, {"start_epoch": 0})

    store = make_store(tmp_path / "hit", records)
    first = Accumulator(settings, store, "run", ALONE, 3)
    first.begin(None)
    accumulate(first, kept[0], 0)
    first.finish_epoch(0)
    assert store.at().version == 0
    accumulate(first, kept[1][:2], 1)
    first.publish(first.version)
    read = first.version
    first.checkpoint(1)
    saved = first.state()
    accumulate(first, lost[1][2:], 1)  # sealed, committed, and in no checkpoint
    first.finish_epoch(1)
    assert first.version > saved["store_version"] > store.at().version == read

    second = Accumulator(settings, map_store.open(str(tmp_path / "hit")), "run", ALONE, 3)
    second.begin(saved)
    assert second.version == saved["store_version"] == store.at().version
    accumulate(second, kept[1][2:], 1)
    second.finish_epoch(1)
    saved = second.state()
    accumulate(second, lost[2], 2)
    accumulate(first, lost[2], 2)
    with pytest.raises(TrainingStopped, match="session"):
        first.finish_epoch(2)  # a process that does not know that it was given up

    third = Accumulator(settings, store, "run", ALONE, 3)
    third.begin(saved)
    accumulate(third, kept[2], 2)
    third.finish_epoch(2)
    assert store.at().version == saved["store_version"]
    assert store.at(third.version).digest() == calm.at().digest()


def test_a_share_that_is_lost_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = make_records(9)
    store = make_store(tmp_path, records)
    (steps,) = make_epochs(records, 1)
    accumulator = Accumulator(StoreConfig(accumulate=True, start_epoch=0), store, "run", ALONE, 2)
    accumulator.begin(None)
    accumulate(accumulator, steps[:-1], 0)
    with pytest.raises(TrainingStopped, match=r"were in no worker's share .*image-"):
        accumulator.finish_epoch(0)

    accumulate(accumulator, steps[-1:], 0)
    seal = accumulator._seal
    monkeypatch.setattr(accumulator, "_seal", lambda epoch: seal(epoch)[1:])
    with pytest.raises(TrainingStopped, match="missing"):
        accumulator.finish_epoch(0)
    assert issubclass(CoverageError, map_store.StoreError)


def test_images_that_cannot_be_read_are_no_loss(tmp_path: Path) -> None:
    records = make_records(6)
    store = make_store(tmp_path, records)
    broken = next(record for record in records if record.labels)
    others = [record for record in records if record is not broken]
    rng = np.random.default_rng(0)
    step = make_step(others, rng)
    accumulator = Accumulator(StoreConfig(accumulate=True, start_epoch=0), store, "run", ALONE, 1)
    accumulator.begin(None)
    skipping = Batch(**{**vars(step.batch), "skipped": (broken.image_id,)})
    accumulator.add(skipping, StepMaps(step.maps, step.logits), 0)
    metrics = accumulator.finish_epoch(0)
    labels = sum(len(record.labels) for record in others)
    assert metrics["store/accepted"] + metrics["store/dropped"] == labels


def test_maps_that_are_not_numbers_are_refused(tmp_path: Path) -> None:
    records = make_records(6)
    step = make_step(records, np.random.default_rng(0))
    step.maps[:] = float("nan")
    accumulator = Accumulator(StoreConfig(accumulate=True), make_store(tmp_path, records), "run", ALONE, 2)
    accumulator.begin(None)
    with pytest.raises(map_store.MapError, match="NaN"):
        accumulator.add(step.batch, StepMaps(step.maps, step.logits), 1)


def test_nothing_is_committed_before_the_first_accumulated_epoch(tmp_path: Path) -> None:
    records = make_records(6)
    store = make_store(tmp_path, records)
    accumulator = Accumulator(StoreConfig(accumulate=True), store, "run", ALONE, 2)
    accumulator.begin(None)
    assert not accumulator.wants(0)
    accumulator.checkpoint(0)
    assert accumulator.finish_epoch(0) == {}
    assert accumulator.state()["store_version"] == 0


def test_a_fallback_map_is_one_until_a_map_is_accepted(tmp_path: Path) -> None:
    records = [Record("a", (0,)), Record("b", (1,))]
    step = make_step(records, np.random.default_rng(0), whole=True)
    step.logits = torch.tensor([[5.0, 0, 0, 0], [5.0, 0, 0, 0]])  # a's class is found, b's is not
    step.maps += 1
    store = make_store(tmp_path, records)
    metrics = run_all(store, [[step], [step]], {})
    assert metrics[1] == {"store/accepted": 1.0, "store/dropped": 1.0, "store/fallback": 1.0}
    levels, _ = store.at().rows(*store.rows.find("b"))
    assert levels.tolist() == [FALLBACK]


def test_a_store_has_a_row_for_each_label_and_the_networks_grid(tmp_path: Path) -> None:
    sizes = ["data.count=6", "data.size=32", "input.size=[32,48]", "model.widths=[4,4,4]", "validation.split=null"]
    config = load_config(TrainConfig, "scenes_oaa", sizes)
    components = build_components(config, rank=0, world=1)
    store = create_store(str(tmp_path), config.store, config.input, components)
    assert store.grid == (8, 12)
    assert list(store.rows) == sorted(
        (record.image_id, n) for record in components.source.records for n in record.labels
    )
    assert create_store(str(tmp_path), config.store, config.input, components).definition == store.definition
    with pytest.raises(map_store.StoreError, match="grid"):
        create_store(str(tmp_path), config.store.model_copy(update={"grid": (9, 9)}), config.input, components)
