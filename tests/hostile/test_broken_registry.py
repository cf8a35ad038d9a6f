"""Registered models whose tags are damaged: each shows as broken, and the others show."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from mlflow.entities.model_registry import ModelVersion, ModelVersionTag

from attn.errors import WeightsError
from attn.evaluation.score import Protocol, Score
from attn.registry.mlflow_registry import Registry
from attn.registry.score_tags import scores_text

PROTOCOL = Protocol(source="scenes", split="val", images=6, fingerprint="a", scored="classifier", resize="squash 48x48")
SCORE = json.loads(Score(name="mean_ap", value=0.5, protocol=PROTOCOL).to_json())
SHORT = json.loads(scores_text(5, [Score(name="mean_ap", value=0.5, protocol=PROTOCOL)]))
(WRITTEN,) = SHORT["protocols"]
GRID = {"rule": "swept", "values": {"grid": 10**12, "besides": []}}
GOOD = {
    "attn.sha256": "a" * 64,
    "attn.model_json": "b" * 64,
    "attn.store_version": "3",
    "attn.scores.r": json.dumps({"at": 5, "scores": [SCORE]}),
}
DAMAGED: list[tuple[dict[str, str | None], str, bool]] = [
    ({"attn.sha256": ""}, "attn.sha256 is not a SHA-256", False),
    ({"attn.sha256": "../../etc/passwd"}, "attn.sha256 is not a SHA-256", False),
    ({"attn.model_json": None}, "attn.model_json is not a SHA-256", False),
    ({"attn.store_version": "newest"}, "attn.store_version is not a number", True),
    ({"attn.store_version": "9" * 5000}, "attn.store_version is not a number", True),
    ({"attn.scores.r": ""}, "attn.scores.r has no scores", True),
    ({"attn.scores.r": "[]"}, "attn.scores.r has no scores", True),
    ({"attn.scores.r": "{}"}, "attn.scores.r has no scores", True),
    ({"attn.scores.r": "[" * 100_000}, "attn.scores.r has no scores", True),
    ({"attn.scores.r": '{"at": "then", "scores": []}'}, "attn.scores.r has no scores", True),
    ({"attn.scores.r": '{"at": 1, "scores": [5]}'}, "attn.scores.r has no scores", True),
    ({"attn.scores.r": '{"at": 1, "scores": [{"name": "x"}]}'}, "attn.scores.r has no scores", True),
    ({"attn.scores.r": json.dumps({"at": 1, "scores": [SCORE | {"hash": "0" * 64}]})}, "has no scores", True),
    ({"attn.scores.r": json.dumps({"at": 1, "scores": [SCORE | {"value": float("nan")}]})}, "has no scores", True),
    ({"attn.scores.r": '{"at": 1, "scores": [{"name": "x", "value": 1, "protocol": 7}]}'}, "has no scores", True),
    ({"attn.scores.r": json.dumps(SHORT | {"protocols": [WRITTEN | {"hash": "0"}]})}, "has no scores", True),
    ({"attn.scores.r": json.dumps(SHORT | {"protocols": [WRITTEN | {"threshold": GRID}]})}, "has no scores", True),
    ({"attn.scores.r": json.dumps(SHORT | {"protocols": 5})}, "has no scores", True),
    ({"attn.scores.r": '{"at": 1e999, "scores": []}'}, "has no scores", True),
]


class Page(list[Any]):
    token = None


def registry_of(tags: dict[str, str | None]) -> Registry:
    """A registry with the models `good` and `bad`, of one version each, `bad` with other tags."""

    def version(name: str, own: dict[str, str | None]) -> ModelVersion:
        given = [ModelVersionTag(key, value) for key, value in own.items() if value is not None]
        return ModelVersion(name, "1", 5000, tags=given, run_id="r")

    versions = {"good": version("good", {**GOOD}), "bad": version("bad", {**GOOD, **tags})}
    client = SimpleNamespace(
        search_registered_models=lambda **_: Page(SimpleNamespace(name=name) for name in versions),
        get_registered_model=lambda name: SimpleNamespace(aliases={"champion": "1"}),
        search_model_versions=lambda filter_string, **_: Page([versions[filter_string.split("'")[1]]]),
    )
    registry = Registry("http://registry.invalid")
    registry.__dict__["_client"] = client
    return registry


@pytest.mark.parametrize(("tags", "words", "usable"), DAMAGED, ids=lambda value: str(value)[:60])
def test_a_damaged_version_shows_and_the_others_too(tags: dict[str, str | None], words: str, usable: bool) -> None:
    registry = registry_of(tags)
    bad, good = (item.to_json() for item in registry.versions())
    assert (good["name"], good["broken"], good["scores"][0]["value"], good["store_version"]) == ("good", None, 0.5, 3)
    assert bad["name"] == "bad"
    assert bad["aliases"] == ["champion"]
    assert words in bad["broken"]
    assert [item.name for item in registry.versions("bad")] == ["bad"]
    if usable:
        assert registry.find("bad@champion").sha256 == "a" * 64
    else:
        with pytest.raises(WeightsError, match="cannot be verified; register it again"):
            registry.find("bad@champion")
    assert registry.find("good").broken is None
