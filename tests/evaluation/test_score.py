"""Scores carry their protocol, survive JSON, and refuse silent comparison."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from attn.errors import AttnError
from attn.evaluation import OAA_CRF, SEC_CRF, Protocol, Score, ThresholdRule, compare

SWEPT = ThresholdRule(rule="swept", values=(0.0, 0.5))


def protocol(**changes: object) -> Protocol:
    fields: dict[str, object] = {
        "source": "voc",
        "split": "val",
        "images": 173,
        "fingerprint": "ab" * 32,
        "scored": "maps",
        "map_kind": "grad_cam",
        "layer": "last",
        "labels": "given",
        "threshold": SWEPT,
        "resize": "squash 225x225",
    }
    return Protocol.model_validate(fields | changes)


def score(value: float = 0.3, **changes: Any) -> Score:
    return Score(
        name="seed_miou", value=value, protocol=protocol(**changes), per_class={"cat": value, "dog": None},
        curve=((0.0, 0.1), (0.5, value)), extras={"best_threshold": 0.5},
    )  # fmt: skip


def test_the_hash_is_stable_across_versions_of_the_project() -> None:
    # Written down once: a change here makes every stored score incomparable with new ones.
    assert protocol().hash == "bf6df7545f4e1589f67d1995d610cc8902a60b155e4acb427a41f7735d0e81a0"


@pytest.mark.parametrize(
    "change",
    [
        {"split": "train"}, {"images": 172}, {"fingerprint": "cd" * 32}, {"map_kind": "pixel"}, {"layer": "inner"},
        {"labels": "predicted", "probability": 0.5}, {"threshold": ThresholdRule(rule="fixed", values=(0.2,))},
        {"crf": OAA_CRF}, {"crf": SEC_CRF}, {"scales": (0.5, 1.0)}, {"resize": "squash 321x321"}, {"frame": "input"},
        {"outputs": "softmax"}, {"average_precision": "voc2010"}, {"difficult": "unknown"},
        {"threshold": ThresholdRule(rule="saliency_agreement", values=(0.0, 0.5), saliency="given")},
    ],
)  # fmt: skip
def test_every_choice_changes_the_hash_and_is_named_by_the_refusal(change: dict[str, Any]) -> None:
    a, b = score(), score(**change)
    assert a.hash != b.hash
    with pytest.raises(AttnError, match=next(iter(change))):
        compare(a, b)
    assert compare(a, b, despite_protocol=True).protocol_differences


def test_equal_protocols_compare() -> None:
    comparison = compare(score(0.25), score(0.5))
    assert comparison.difference == 0.25
    assert comparison.per_class == {"cat": 0.25}


def test_scores_of_different_names_never_compare() -> None:
    other = score().model_copy(update={"name": "mean_ap"})
    with pytest.raises(AttnError, match="different scores"):
        compare(score(), other, despite_protocol=True)


def test_json_gives_the_same_score_back() -> None:
    original = score(crf=OAA_CRF)
    text = original.to_json()
    assert Score.from_json(text) == original
    assert json.loads(text)["hash"] == original.hash


def test_a_changed_file_is_refused() -> None:
    fields = json.loads(score().to_json())
    fields["protocol"]["split"] = "train"
    with pytest.raises(AttnError, match="hash"):
        Score.from_json(json.dumps(fields))


def test_a_score_that_is_not_a_number_is_refused() -> None:
    with pytest.raises(ValidationError):
        score(float("nan"))


def test_a_fixed_rule_has_one_value() -> None:
    with pytest.raises(ValidationError, match="one value"):
        ThresholdRule(rule="fixed", values=(0.1, 0.2))


def test_the_saliency_that_chooses_a_threshold_is_part_of_its_rule() -> None:
    given, computed = (
        ThresholdRule(rule="saliency_agreement", values=SWEPT.values, saliency=one, saliency_threshold=0.5)
        for one in ("given by the data", "u2netp 309c8469258d")
    )
    other = given.model_copy(update={"saliency_threshold": 0.4})
    assert len({protocol(threshold=one).hash for one in (given, computed, other, SWEPT)}) == 4
    for rule, saliency in (("swept", "given by the data"), ("saliency_agreement", None)):
        with pytest.raises(ValidationError, match=f"saliency belongs to saliency_agreement, and the rule is {rule}"):
            ThresholdRule.model_validate({"rule": rule, "values": (0.5,), "saliency": saliency})
