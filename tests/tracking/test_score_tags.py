"""The tag of a registered version with an evaluation's scores."""

from __future__ import annotations

import json

import numpy as np
import pytest

from attn.evaluation.localization import threshold_grid
from attn.evaluation.score import Protocol, Score, ThresholdRule
from attn.registry.score_tags import read_scores, scores_text

BASE = Protocol(
    source="voc", split="val", images=173, fingerprint="f" * 64, scored="maps", map_kind="grad_cam",
    layer="features", masks="SegmentationClass", labels="given", resize="squash 321x321",
    refinement={"kind": "pamr", "weights": None},
)  # fmt: skip


def score(name: str, *thresholds: float, rule: str = "swept") -> Score:
    protocol = BASE
    if thresholds:
        protocol = BASE.model_copy(
            update={"threshold": ThresholdRule.model_validate({"rule": rule, "values": thresholds})}
        )
    return Score(name=name, value=0.25, protocol=protocol, extras={"best_threshold": 0.31, "left_out": ["cat"]})


@pytest.mark.parametrize(
    "thresholds",
    [
        threshold_grid(100).tolist(), threshold_grid(7).tolist(), np.union1d(threshold_grid(100), [0.333]).tolist(),
        [0.0, 0.5], [0.1, 0.2, 0.4], [0.5, 0.0], [0.3],
    ],
    ids=str,
)  # fmt: skip
def test_what_is_written_is_read(thresholds: list[float]) -> None:
    rule = "swept" if len(thresholds) > 1 else "fixed"
    given = [score("seed_miou", *thresholds, rule=rule), score("pointing"), score("coverage", *thresholds, rule=rule)]
    at, read = read_scores(scores_text(5, given))
    kept = [one.model_copy(update={"extras": {"best_threshold": 0.31}}) for one in given]
    assert (at, read) == (5, kept)
    assert [one.hash for one in read] == [one.hash for one in given]


def test_a_tag_is_short() -> None:
    names = ("seed_miou", "coverage", "precision", "energy", "direct_miou_best", "seed_miou_agreement")
    text = scores_text(5, [score(name, *threshold_grid(100).tolist()) for name in names])
    assert len(text) < 1200, "MLflow's page shows the whole of it"


def test_tags_of_earlier_versions_are_read() -> None:
    given = score("seed_miou", *threshold_grid(100).tolist())
    text = json.dumps({"at": 7, "scores": [json.loads(given.to_json())]})
    assert read_scores(text) == (7, [given])
