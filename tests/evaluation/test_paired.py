"""The paired bootstrap of `python -m benchmarks.paired`, against plain loops and through the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from attn.errors import ConfigError, DataError, WeightsError
from benchmarks import paired
from jobs import evaluate
from tests.bundles import CLASSES, CONFIG, tiny_bundle
from tests.evaluation.plain import plain_ap


def plain_map(scores: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean([plain_ap(scores[:, index], labels[:, index]) for index in range(labels.shape[1])]))


def some_scores(images: int) -> tuple[np.ndarray, np.ndarray]:
    """Two groups of two models, the second a little worse than the first on the same images; and two classes."""
    rng = np.random.default_rng(3)
    labels = (rng.random((images, 2)) < 0.25).astype(np.int64)
    before = labels + rng.normal(0, 0.7, (2, images, 2))
    return np.array([before, before + rng.normal(0, 0.4, before.shape)]), labels


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paired, "DRAWS", 100)


def test_intervals_are_those_of_a_plain_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paired, "DRAWS", 500)
    scores, labels = some_scores(60)
    result = paired.paired_changes(scores, labels)
    for group in range(2):
        for seed in range(2):
            assert result.scores[group, seed] == pytest.approx(plain_map(scores[group, seed], labels))
    rng, drawn = np.random.default_rng(11), []
    for _ in range(500):
        images = rng.integers(0, 60, 60)
        was, now = ([plain_map(one[images], labels[images]) for one in group] for group in scores)
        drawn.append([now[0] - was[0], now[1] - was[1], np.mean(now) - np.mean(was)])
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    # Two sets of 500 draws: the standard error of what a bound differs by is about a twentieth of the interval.
    tolerance = 0.15 * (high - low).max()
    assert result.low == pytest.approx(low[None], abs=tolerance)
    assert result.high == pytest.approx(high[None], abs=tolerance)


def test_models_that_rank_alike_do_not_differ_on_any_draw() -> None:
    scores, labels = some_scores(60)
    result = paired.paired_changes(np.array([scores[0], scores[0] ** 3]), labels)
    assert result.scores[1] == pytest.approx(result.scores[0])
    assert np.array_equal(result.low, np.zeros((1, 3)))
    assert np.array_equal(result.high, np.zeros((1, 3)))


def test_no_interval_where_a_draw_may_have_no_positive_image() -> None:
    labels = np.zeros((20, 1), np.int64)
    labels[0] = 1
    scores = np.random.default_rng(0).random((2, 1, 20, 1))
    result = paired.paired_changes(scores, labels)
    assert np.isfinite(result.scores).all()
    assert np.isnan(result.low).all()
    assert np.isnan(result.high).all()


def test_the_table_of_trained_models(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in range(4):
        tiny_bundle(tmp_path / f"model{seed}", seed=seed)
    models = [[str(tmp_path / f"model{seed}") for seed in pair] for pair in ((0, 1), (2, 3))]
    data = ["data.split=test", "data.count=30"]
    paired.main(models, [*data, f"root={tmp_path}"], CLASSES[1:])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("30 images; ")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[-3:]]
    assert [row[:2] for row in rows] == [[models[1][0], models[0][0]], [models[1][1], models[0][1]], ["mean", "mean"]]
    for row, location in zip(rows, ((0, 0), (1, 1)), strict=False):
        for column, model in ((2, models[0][location[0]]), (3, models[1][location[1]])):
            result = evaluate.run(evaluate.load(model, [*data, f"root={tmp_path}", "panels=0"]))
            known = {one["class"]: one["mean_ap"] for one in result.per_class}
            assert float(row[column]) == pytest.approx(100 * np.mean([known[name] for name in CLASSES[1:]]), abs=0.06)
    for row in rows:
        low, high = (float(side) for side in row[5].split(" to "))
        assert low <= float(row[4]) <= high


def test_what_cannot_be_compared_is_told(tmp_path: Path) -> None:
    model = str(tiny_bundle(tmp_path / "model"))
    with pytest.raises(ConfigError, match=r"models to compare: 2, 1; give two groups or more of as many"):
        paired.main([[model, model], [model]], [])
    with pytest.raises(ConfigError, match="models to compare: 1; "):
        paired.main([[model]], [])
    with pytest.raises(ConfigError, match="--classes zebra is not available: "):
        paired.main([[model], [model]], [], ["zebra"])
    for field, other in (("count: 6", "count: 7"), ("split: train", "split: train, seed: 1")):
        another = str(tiny_bundle(tmp_path / "other", config=CONFIG.replace(field, other)))
        with pytest.raises(DataError, match="other has other images or labels to be scored on than "):
            paired.main([[model], [another]], [])
    with pytest.raises(WeightsError):
        paired.main([[model], [str(tmp_path / "none")]], [f"root={tmp_path}"])
