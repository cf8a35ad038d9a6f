"""Scores of stored maps are those of the same maps from a network, and of plain segmentation by them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from attn import store
from attn.data.sample import Example
from attn.data.source import FileSource, Source
from attn.data.sources import ScenesConfig
from attn.errors import DataError
from attn.evaluation import ScoringConfig, confusion_matrix, mean_iou
from attn.evaluation.inference import ImageMaps
from attn.evaluation.result import DataDescription, Evaluation
from attn.evaluation.stored import evaluate_stored
from attn.saliency.source import SaliencySource
from attn.store import Snapshot

DATA = DataDescription(source="scenes", split="train", resize="stored 32x32")


@pytest.fixture(scope="module")
def source() -> Source:
    return ScenesConfig(count=6, size=32, objects=(1, 2)).build()


def truth(source: Source, index: int) -> np.ndarray:
    mask = source.load(index).mask
    assert mask is not None
    return mask


def kept(root: Path, source: Source, draw: Callable[[int, int], np.ndarray], grid: tuple[int, int]) -> Snapshot:
    rows = [(record.image_id, label) for record in source.records for label in record.labels]
    result = store.create(str(root), rows=rows, grid=grid, classes=source.classes)
    session = result.begin("run")
    writer = session.writer(0)
    for index, record in enumerate(source.records):
        for label in record.labels:
            writer.add(record.image_id, label, draw(index, label))
    session.commit(0, [writer.seal()])
    return result.at()


def score(snapshot: Snapshot, source: Source, **options: Any) -> Evaluation:
    return evaluate_stored(snapshot, source, ScoringConfig(), data=DATA, map_kind="cumulative", **options)


def test_the_truth_as_maps_is_perfect_whatever_a_maps_own_maximum(tmp_path: Path, source: Source) -> None:
    def faint(index: int, label: int) -> np.ndarray:
        return (truth(source, index) == label + 1).astype(np.uint8) * 100

    evaluation = score(kept(tmp_path / "maps", source, faint, (32, 32)), source)
    assert evaluation.scores["seed_miou"].value == 1
    assert evaluation.scores["energy"].value == 1
    assert {"mean_ap", "direct_miou"}.isdisjoint(evaluation.scores)
    assert any("without predictions" in note for note in evaluation.notes)
    protocol = evaluation.scores["seed_miou"].protocol
    assert (protocol.map_kind, protocol.layer, protocol.resize) == ("cumulative", None, "stored 32x32")


def test_a_threshold_by_saliency_needs_no_masks(tmp_path: Path, source: Source) -> None:
    """Half of each object is salient at the maps' upper half: the threshold in between agrees, masks or not."""

    def faint(index: int, label: int) -> np.ndarray:
        object_HW = truth(source, index) == label + 1
        return np.where(np.arange(32)[:, None] % 2 == 0, 200, 100).astype(np.uint8) * object_HW

    def even_rows(example: Example) -> np.ndarray:
        return np.where(np.arange(32)[:, None] % 2 == 0, 255, 0).astype(np.uint8) * (_mask(example) > 0)

    class EvenRows(SaliencySource):
        def load(self, index: int, *, mask: bool = True, saliency: bool = True) -> Example:
            example = source.load(index)
            return replace(example, mask=example.mask if mask else None, saliency=even_rows(example))

    snapshot, salient = kept(tmp_path / "maps", source, faint, (32, 32)), EvenRows(source, "even rows")
    evaluation = score(snapshot, source, saliency=salient)
    agreed = evaluation.scores["seed_miou_agreement"]
    assert agreed.extras["threshold"] == 0.5, "the lowest of several"
    assert agreed.extras["agreement"] == 1
    assert agreed.extras["agreement_images"] == 6
    assert agreed.value == dict(agreed.curve)[0.5]
    assert agreed.protocol.threshold is not None
    assert (agreed.protocol.threshold.rule, agreed.protocol.threshold.saliency) == ("saliency_agreement", "even rows")
    seeds = evaluation.scores["seed_miou"]
    assert seeds.value == 1, "the masks' own best is the whole object"
    assert seeds == score(snapshot, source).scores["seed_miou"]
    (note,) = (note for note in evaluation.notes if "agreement" in note)
    assert note == "threshold 0.5 by agreement with saliency (even rows), mean IoU 100.0 % of 6 images"
    unmasked = FileSource(source.classes, [replace(record, mask=None) for record in source.records])
    unmasked.load = lambda index, **_: replace(source.load(index), mask=None)
    without = score(snapshot, unmasked, saliency=salient)
    assert "seed_miou" not in without.scores
    assert note in without.notes


def _mask(example: Example) -> np.ndarray:
    assert example.mask is not None
    return example.mask


def test_zero_maps_count_as_empty_and_not_as_missing(tmp_path: Path, source: Source) -> None:
    evaluation = score(kept(tmp_path / "maps", source, lambda *_: np.zeros((4, 4), np.uint8), (4, 4)), source)
    labels = sum(len(record.labels) for record in source.records)
    seen: list[ImageMaps] = []
    assert evaluation.scores["coverage"].value == 0
    assert f"{labels} maps are zero everywhere; their coverage is 0" in evaluation.notes
    empty = (0, source.records[0].labels[0])
    one = kept(tmp_path / "one", source, lambda *row: np.full((4, 4), 0 if row == empty else 9, np.uint8), (4, 4))
    assert "1 map is zero everywhere; its coverage is 0" in score(one, source).notes
    nothing = kept(tmp_path / "none", source, lambda *_: np.ones((4, 4)), (4, 4)).manifest.version
    score(store.open(str(tmp_path / "none")).at(nothing), source, observe=seen.append)
    assert [one.record.image_id for one in seen] == [record.image_id for record in source.records]


def test_maps_are_resized_between_centres(tmp_path: Path, source: Source) -> None:
    ramp = np.tile(np.array([0, 100, 200, 250], np.uint8), (4, 1))
    seen: list[ImageMaps] = []
    score(kept(tmp_path / "maps", source, lambda *_: ramp, (4, 4)), source, observe=seen.append)
    expected = np.interp((np.arange(32) + 0.5) / 8 - 0.5, np.arange(4), ramp[0]) / 250
    for one in seen:
        for values in one.maps.values():
            np.testing.assert_allclose(values, np.tile(expected, (32, 1)), atol=1e-6)


def test_known_predictions_score_the_classifier_and_the_maps_of_predicted_classes(
    tmp_path: Path, source: Source
) -> None:
    random = np.random.default_rng(0)
    predictions = {record.image_id: random.random(len(source.classes)) for record in source.records}
    rows = [(name, int(label)) for name, values in predictions.items() for label in np.flatnonzero(values > 0.5)]
    result = store.create(str(tmp_path / "maps"), rows=rows, grid=(32, 32), classes=source.classes)
    session = result.begin("run")
    writer = session.writer(0)
    maps = {row: random.integers(0, 256, (32, 32), dtype=np.uint8) for row in result.rows}
    for row, values in maps.items():
        writer.add(*row, values)
    session.commit(0, [writer.seal()])
    evaluation = score(result.at(), source, given=False, probabilities=predictions)
    assert "seed_miou" not in evaluation.scores
    matrix = np.zeros((len(source.classes) + 1,) * 2, np.int64)
    for index, record in enumerate(source.records):
        segmented = np.zeros((32, 32), np.int64)
        of_image = predictions[record.image_id]
        for label in sorted(np.flatnonzero(of_image > 0.5), key=lambda label: of_image[label]):
            values = maps[(record.image_id, int(label))].astype(np.float32)
            segmented[(values / values.max()).astype(np.float64) > 0.2] = label + 1
        matrix += confusion_matrix(segmented, truth(source, index), len(source.classes) + 1)
    assert evaluation.scores["direct_miou"].value == pytest.approx(mean_iou(matrix)[0])
    assert 0 < evaluation.scores["mean_ap"].value < 1
    with pytest.raises(DataError, match="has no prediction"):
        score(result.at(), source, given=False, probabilities={})


@pytest.mark.parametrize("exclusive", [False, True])
def test_a_direct_score_needs_a_map_of_every_predicted_class(tmp_path: Path, exclusive: bool) -> None:
    """A map that is zero everywhere is a map; that of a class without a row is missing."""
    scenes = ScenesConfig(count=6, size=32, objects=(1, 1 if exclusive else 2)).build()
    source = FileSource(scenes.classes, scenes.records)
    source.exclusive, source.load = exclusive, scenes.load
    snapshot = kept(tmp_path / "maps", source, lambda index, _: np.full((4, 4), index > 0, np.uint8), (4, 4))
    right = {
        record.image_id: np.isin(range(len(source.classes)), record.labels).astype(float) for record in source.records
    }
    first, *rest = source.records
    assert "direct_miou" in score(snapshot, source, probabilities=right).scores
    mistaken = 1 - right[first.image_id]
    evaluation = score(snapshot, source, probabilities=right | {first.image_id: mistaken})
    assert {"direct_miou", "direct_miou_best"}.isdisjoint(evaluation.scores)
    assert {"seed_miou", "recall"} <= evaluation.scores.keys()
    (note,) = (note for note in evaluation.notes if "direct" in note)
    assert "the store has none of a predicted class of 1 of 6 images; `attn maps MODEL classes=both" in note
    unmasked = FileSource(source.classes, [replace(first, mask=None), *rest])
    unmasked.exclusive = exclusive
    unmasked.load = lambda index, **_: replace(scenes.load(index), mask=scenes.load(index).mask if index else None)
    without = score(snapshot, unmasked, probabilities=right | {first.image_id: mistaken})
    assert "direct_miou" in without.scores, "an image without a mask is not scored"
