"""The quality of cues against brute force, and the sweep against one evaluation a pair of thresholds."""

from __future__ import annotations

import numpy as np
import pytest

from attn.segmentation.cues import CueRule, OaaRule, SecRule, cue_labels
from attn.segmentation.quality import CueQuality, CueSweep, cue_matrix

CLASSES = 4
FOREGROUND, BACKGROUND = [0.0, 0.2, 0.35, 0.7], [0.03, 0.125, 0.5]


def _images(count: int = 5) -> list[tuple[dict[int, np.ndarray], np.ndarray, np.ndarray]]:
    images = []
    for seed in range(count):
        random = np.random.default_rng(seed)
        shape = (7 + seed, 12)
        classes = random.choice(CLASSES, size=seed % 3, replace=False)
        maps = {int(c): random.integers(0, 64, shape).astype(np.float32) for c in classes}
        truth = random.choice([0, 1, 2, 3, 4, 255], size=shape).astype(np.uint8)
        images.append((maps, random.integers(0, 256, shape).astype(np.uint8), truth))
    return images


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("rule", [SecRule(), SecRule(overlap="strongest"), OaaRule(least_foreground=0.2)])
def test_sweep_is_every_threshold_by_itself(rule: CueRule, given: bool) -> None:
    sweep = CueSweep(rule, CLASSES, FOREGROUND, BACKGROUND)
    for maps, saliency, truth in _images():
        sweep.add(maps, saliency if given else None, truth)
    field = "background" if given else "background_map"
    for row, foreground in enumerate(FOREGROUND):
        for column, background in enumerate(BACKGROUND):
            single = rule.model_copy(update={"foreground": foreground, field: background})
            expected = sum(
                cue_matrix(cue_labels(single, maps, saliency if given else None, shape=truth.shape), truth, CLASSES)
                for maps, saliency, truth in _images()
            )
            np.testing.assert_array_equal(sweep.matrices[row, column], expected)
    foreground, background, quality = sweep.best("precision")
    precisions = [[CueQuality.of(matrix).precision for matrix in row] for row in sweep.matrices]
    assert quality.precision == np.nanmax(precisions)
    assert np.nanmax(precisions) == precisions[FOREGROUND.index(foreground)][BACKGROUND_OF[background]]


BACKGROUND_OF = {float(np.float32(value)): place for place, value in enumerate(BACKGROUND)}


def test_quality_against_counting() -> None:
    random = np.random.default_rng(1)
    truth = random.choice([0, 1, 2, 3, 255], size=(20, 30)).astype(np.uint8)
    cues = np.where(random.random((20, 30)) < 0.5, truth, random.choice([0, 1, 2, 255], size=(20, 30))).astype(np.uint8)
    cues[truth == 255] = 1
    quality = CueQuality.of(cue_matrix(cues, truth, CLASSES))
    seen = truth != 255
    labelled = seen & (cues != 255)
    assert quality.coverage == pytest.approx(labelled.sum() / seen.sum())
    assert quality.precision == pytest.approx((cues == truth)[labelled].mean())
    over_labelled, over_all = [], []
    for index in range(4):
        hits = (labelled & (cues == index) & (truth == index)).sum()
        claimed, owned, reached = ((labelled & (cues == index)), seen & (truth == index), labelled & (truth == index))
        over_labelled.append(hits / (claimed | reached).sum())
        over_all.append(hits / (claimed | owned).sum())
        assert quality.precision_per_class[index] == pytest.approx(hits / claimed.sum(), nan_ok=True)
        assert quality.coverage_per_class[index] == pytest.approx(reached.sum() / owned.sum())
    assert quality.miou == pytest.approx(np.mean(over_labelled))
    assert quality.miou_all == pytest.approx(np.mean(over_all))
    assert np.isnan(quality.iou_per_class[4])
    rows = quality.table(["background", "a", "b", "c", "d"])
    assert rows[0]["class"] == "background"
    assert rows[4]["iou"] is None


def test_cues_that_leave_all_open() -> None:
    cues, truth = np.full((3, 3), 255, np.uint8), np.ones((3, 3), np.uint8)
    quality = CueQuality.of(cue_matrix(cues, truth, CLASSES))
    assert quality.figures() == {"coverage": 0.0, "miou_all": 0.0}


@pytest.mark.parametrize(
    ("cues", "truth", "message"),
    [
        (np.zeros((2, 2)), np.zeros((2, 3)), "differ in shape"),
        (np.full((2, 2), 6), np.zeros((2, 2)), "cues hold index 6"),
        (np.zeros((2, 2)), np.full((2, 2), 5), "truth holds index 5"),
    ],
)
def test_what_does_not_fit_is_refused(cues: np.ndarray, truth: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cue_matrix(cues.astype(np.uint8), truth.astype(np.uint8), CLASSES)


@pytest.mark.parametrize("thresholds", [[], [0.2, 0.2], [0.3, 0.1]])
def test_thresholds_must_rise(thresholds: list[float]) -> None:
    with pytest.raises(ValueError, match="rise"):
        CueSweep(SecRule(), CLASSES, thresholds, BACKGROUND)
