"""Both recipes for cues against pixel loops, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

from attn.segmentation.cues import CueRule, OaaRule, SecRule, cue_labels

SHAPE = (9, 11)
SEEDS = range(6)


def _image(seed: int) -> tuple[dict[int, np.ndarray], np.ndarray]:
    """Up to three maps of few values, so that they meet each other but, in 63rds, no threshold; 8-bit saliency."""
    random = np.random.default_rng(seed)
    classes = random.choice(5, size=seed % 4, replace=False)
    maps = {int(c): random.integers(0, 64, SHAPE).astype(np.float32) for c in classes}
    for values in maps.values():
        values[0, :2] = 0, 63
    return maps, random.choice([0, 8, 16, 31, 32, 100, 240, 255], size=SHAPE).astype(np.uint8)


def _sec(maps: dict[int, np.ndarray], saliency: np.ndarray | None, overlap: str) -> np.ndarray:
    claims = {c: m > np.float32(0.2) * m.max() for c, m in maps.items()}
    labels = np.full(SHAPE, 255)
    for at in np.ndindex(SHAPE):
        mine = [c for c in sorted(claims) if claims[c][at]]
        if saliency is not None:
            empty = saliency[at] / 255 < 0.06
        else:
            empty = all(m[at] < np.float32(0.1) * m.max() for m in maps.values())
        if mine and not empty:
            areas = [claims[c].sum() for c in mine]
            heights = [maps[c][at] / maps[c].max() for c in mine]
            smallest = max(c for c, area in zip(mine, areas, strict=True) if area == min(areas))
            chosen = {"smallest": smallest, "strongest": mine[int(np.argmax(heights))]}
            chosen["open"] = mine[0] if len(mine) == 1 else 254
            labels[at] = chosen[overlap] + 1
        elif empty and not mine:
            labels[at] = 0
    return labels


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("overlap", ["smallest", "strongest", "open"])
def test_sec(seed: int, given: bool, overlap: str) -> None:
    maps, saliency = _image(seed)
    rule = SecRule(overlap=overlap)
    labels = cue_labels(rule, maps, saliency if given else None, shape=SHAPE)
    np.testing.assert_array_equal(labels, _sec(maps, saliency if given else None, overlap))
    assert labels.dtype == np.uint8


def _oaa(maps: dict[int, np.ndarray], saliency: np.ndarray | None) -> np.ndarray:
    stretched = {c: (m - m.min()) / (m.max() - m.min()) for c, m in maps.items()}
    labels = np.zeros(SHAPE, int)
    for at in np.ndindex(SHAPE):
        scores = {-1: 0.0 if saliency is None else 1 - saliency[at] / 255} | {c: stretched[c][at] for c in sorted(maps)}
        scores = {c: 0 if score < 0.3 else score for c, score in scores.items()}
        labels[at] = max(scores, key=lambda c: scores[c]) + 1
        if sum(score > 0.9 for score in scores.values()) > 1:
            labels[at] = 255
        evidence = 255 if saliency is None else saliency[at]
        limit = 32
        if saliency is None:
            evidence = max((m[at] for m in stretched.values()), default=0)
            limit = 0.3
        if labels[at] == 0 and (evidence >= limit or any(m[at] > 0.8 for m in stretched.values())):
            labels[at] = 255
    if ((labels > 0) & (labels < 255)).mean() < 0.01:
        labels[:] = 255
    return labels


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("given", [True, False])
def test_oaa(seed: int, given: bool) -> None:
    maps, saliency = _image(seed)
    labels = cue_labels(OaaRule(), maps, saliency if given else None, shape=SHAPE)
    np.testing.assert_array_equal(labels, _oaa(maps, saliency if given else None))


def test_an_image_with_hardly_any_object_is_wholly_open() -> None:
    map_hw, saliency = np.zeros((20, 20), np.float32), np.zeros((20, 20), np.uint8)
    map_hw[:1, :4] = 1  # exactly one in a hundred
    saliency[:1, :4] = 200
    assert set(np.unique(cue_labels(OaaRule(), {2: map_hw}, saliency))) == {0, 3}
    map_hw[0, 3] = 0
    assert set(np.unique(cue_labels(OaaRule(), {2: map_hw}, saliency))) == {255}
    assert set(np.unique(cue_labels(OaaRule(least_foreground=0), {2: map_hw}, saliency))) == {0, 3, 255}


@pytest.mark.parametrize("rule", [SecRule(), OaaRule()])
def test_maps_that_are_zero_claim_nothing(rule: CueRule) -> None:
    zero = np.zeros((4, 4), np.float32)
    labels = cue_labels(rule, {0: zero, 1: zero}, np.zeros((4, 4), np.uint8))
    assert not ((labels > 0) & (labels < 255)).any()


@pytest.mark.parametrize("rule", [SecRule(overlap="strongest"), OaaRule()])
def test_the_scale_of_maps_does_not_matter(rule: CueRule) -> None:
    maps, saliency = _image(3)
    scaled = {index: values * 16 for index, values in maps.items()}
    np.testing.assert_array_equal(cue_labels(rule, maps, saliency), cue_labels(rule, scaled, saliency))


@pytest.mark.parametrize(
    ("maps", "saliency", "message"),
    [
        ({0: np.full((2, 2), np.nan)}, None, "expected 0 or more"),
        ({0: np.full((2, 2), -1.0)}, None, "expected 0 or more"),
        ({0: np.ones((2, 2)), 1: np.ones((2, 3))}, None, "one shape"),
        ({0: np.ones((2, 2))}, np.zeros((3, 3), np.uint8), "one shape"),
        ({0: np.ones((2, 2))}, np.full((2, 2), 7.0), "saliency must be"),
        ({254: np.ones((2, 2))}, None, "8 bits"),
        ({}, None, "one shape"),
    ],
)
def test_what_does_not_fit_is_refused(maps: dict[int, np.ndarray], saliency: np.ndarray | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cue_labels(SecRule(), maps, saliency)
