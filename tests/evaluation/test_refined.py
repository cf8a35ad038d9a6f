"""Refined maps of given labels do not depend on predictions, nor those of predicted classes on given labels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from attn import store
from attn.data.sample import Example, Record
from attn.data.source import FileSource
from attn.evaluation import ScoringConfig
from attn.evaluation.accumulator import ScoreAccumulator
from attn.evaluation.compute import compute_scores
from attn.evaluation.inference import ImageMaps
from attn.evaluation.refined import MapRefinement
from attn.evaluation.result import DataDescription, Evaluation
from attn.evaluation.stored import evaluate_stored
from attn.evaluation.thresholds import REFINED
from attn.maps.refine import CrfRefinementConfig, PamrConfig, RefinementConfig, Refiner, refine_by_class
from attn.store import Snapshot

SIDE = 40
DATA = DataDescription(source="made", split="train", resize="whole")
CRF, PAMR = CrfRefinementConfig(), PamrConfig(iterations=2, dilations=(1, 2))
PROBABILITIES = np.array([0.8, 0.7])


def _maps() -> dict[int, NDArray[np.float32]]:
    """Smooth maps of two classes."""
    generator = np.random.default_rng(0)
    smooth = [cv2.GaussianBlur(generator.random((SIDE, SIDE), np.float32), (0, 0), 4) for _ in range(2)]
    return {index: np.asarray((one - one.min()) / np.ptp(one), np.float32) for index, one in enumerate(smooth)}


class _One(FileSource):
    """One image with a mask of both classes."""

    def __init__(self, labels: tuple[int, ...]) -> None:
        super().__init__(("x", "y"), [Record(image_id="a", image="a", labels=labels, mask="a")])

    def load(self, index: int, *, mask: bool = True, saliency: bool = True) -> Example:
        pixels = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        truth = np.repeat(np.array([0, 1, 2, 0], np.uint8), SIDE // 4)[None].repeat(SIDE, 0)
        return Example(record=self.records[index], image=pixels, mask=truth if mask else None)


def _refiner(config: RefinementConfig) -> Refiner:
    return config.open(torch.device("cpu"))


def _of_model(config: RefinementConfig, labels: tuple[int, ...], predicted: Mapping[int, Any]) -> Evaluation:
    source, scoring = _One(labels), ScoringConfig()
    image = ImageMaps(source.records[0], PROBABILITIES, predicted, source.load(0).mask)
    final = MapRefinement(_refiner(config), source).of_image(0, image, predicted=(0, 1))
    counted = ScoreAccumulator(2, scoring)
    counted.add(final)
    return compute_scores(counted, source.classes, scoring, DATA, map_kind="cam", layer="last")


def _stored(folder: Path, maps: Mapping[int, NDArray[np.float32]], metadata: dict[str, Any]) -> Snapshot:
    opened = store.create(str(folder), rows=[("a", index) for index in maps], grid=(SIDE, SIDE), classes=("x", "y"))
    session = opened.begin("run")
    writer = session.writer(0)
    for index, values in maps.items():
        writer.add("a", index, values)
    session.publish(session.commit(0, [writer.seal()], metadata=metadata))
    return opened.at()


def _of_store(config: RefinementConfig | None, labels: tuple[int, ...], snapshot: Snapshot, **more: Any) -> Evaluation:
    source = _One(labels)
    refinement = None if config is None else MapRefinement(_refiner(config), source)
    return evaluate_stored(
        snapshot, source, ScoringConfig(), data=DATA, map_kind="cam", refinement=refinement,
        probabilities={"a": PROBABILITIES}, **more,
    )  # fmt: skip


def test_the_crf_of_predicted_classes_does_not_know_the_labels() -> None:
    maps = _maps()
    image = _One(()).load(0).image
    both = refine_by_class(_refiner(CRF), image, maps)
    alone = refine_by_class(_refiner(CRF), image, {0: maps[0]})
    assert np.abs(both[0] - alone[0]).max() > 0.1, "equal maps prove nothing"
    for labels in ((), (0,), (0, 1)):
        source = _One(labels)
        made = ImageMaps(source.records[0], PROBABILITIES, maps, None)
        final = MapRefinement(_refiner(CRF), source).of_image(0, made, predicted=(0, 1))
        scored = final.maps if final.predicted_maps is None else final.predicted_maps
        for index in (0, 1):
            np.testing.assert_array_equal(scored[index], both[index])
        if labels == (0,):
            np.testing.assert_array_equal(final.maps[0], alone[0])


@pytest.mark.parametrize("config", [CRF, PAMR])
def test_direct_scores_do_not_depend_on_labels_nor_seed_scores_on_predictions(
    config: RefinementConfig, tmp_path: Path
) -> None:
    maps = _maps()
    snapshot = _stored(tmp_path / "both", maps, {"classes": "both"})
    by_labels = [_of_model(config, labels, maps) for labels in ((), (0,), (0, 1))]
    by_labels += [_of_store(config, labels, snapshot) for labels in ((), (0,), (0, 1))]
    values = [one.scores["direct_miou"].value for one in by_labels]
    assert values == pytest.approx([values[0]] * 6, abs=0.01)  # a store has eight bits
    assert values[:3] == [values[0]] * 3
    assert values[3:] == [values[3]] * 3
    assert all(REFINED in one.notes for one in by_labels[3:]), "their fixed threshold says little"
    assert REFINED not in _of_store(None, (0,), snapshot).notes
    alone = _of_store(config, (0,), _stored(tmp_path / "labels", {0: maps[0]}, {"classes": "labels"}))
    assert by_labels[4].scores["seed_miou"] == alone.scores["seed_miou"]


def test_refined_maps_are_not_said_to_be_0_where_the_network_saw_nothing() -> None:
    source, scoring = _One((0,)), ScoringConfig()
    counted = ScoreAccumulator(2, scoring)
    counted.add(ImageMaps(source.records[0], PROBABILITIES, _maps(), source.load(0).mask, whole=False))
    for refinement, text in ((None, "count as 0 in the rest"), ({"name": "pamr"}, "were 0 in the rest before they")):
        made = compute_scores(
            counted, source.classes, scoring, DATA, map_kind="cam", layer="last", refinement=refinement
        )
        (note,) = (note for note in made.notes if "only a part" in note)
        assert f"; their maps {text}" in note


def test_stored_maps_that_were_refined_together_give_no_direct_score(tmp_path: Path) -> None:
    snapshot = _stored(tmp_path / "both", _maps(), {"classes": "both"})
    crf, pamr = _refiner(CRF).description, _refiner(PAMR).description
    for before in (crf, pamr | {"after": crf}):
        mixed = _of_store(None, (0,), snapshot, before=before)
        assert "direct_miou" not in mixed.scores
        assert {"seed_miou", "recall"} <= mixed.scores.keys()
        assert any("classes=predicted" in note for note in mixed.notes)
        labels = _of_store(None, (0, 1), _stored(tmp_path / f"labels {len(before)}", _maps(), {}), before=before)
        assert "direct_miou" not in labels.scores, "of a training's store, too"
    assert "direct_miou" in _of_store(None, (0,), snapshot, before=pamr).scores
    predicted = _stored(tmp_path / "predicted", _maps(), {"classes": "predicted"})
    assert "direct_miou" in _of_store(None, (0,), predicted, before=crf, given=False).scores
