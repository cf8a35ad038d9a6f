"""What may be submitted: only the service says where a job writes, however deep in a config it is said."""

from __future__ import annotations

from typing import Any

import pytest

from attn.errors import ConfigError
from services.permissions import Permissions
from services.plan import plan_of
from services.submission import Submission

ROOT = "/srv/runs"
SWEEP = """
kind: sweep
base: {base}
set: {{{set}}}
space: {{{space}}}
search: {{name: grid}}
"""
PIPELINE = """
kind: pipeline
{above}
train: {{recipe: {recipe}, {train}}}
segment: {{recipe: segment_scenes}}
{below}
"""


def plan(**asked: Any) -> dict[str, Any]:
    return plan_of(Submission.model_validate({"id": "x", **asked}), Permissions(ROOT))


def faults(**asked: Any) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        plan(**asked)
    return [str(fault) for fault in raised.value.faults]


def sweep(base: str = "scenes_oaa", space: str = "optimizer.lr: [0.1]", **given: str) -> dict[str, Any]:
    return {"kind": "sweep", "config": SWEEP.format(base=base, space=space, set=given.get("set", ""))}


def pipeline(recipe: str = "scenes_oaa", above: str = "", train: str = "", below: str = "") -> dict[str, Any]:
    text = PIPELINE.format(recipe=recipe, above=above, train=train, below=below)
    return {"kind": "pipeline", "config": text}


def test_a_plan_says_what_a_pipeline_and_a_sweep_will_take() -> None:
    whole = plan(kind="pipeline", target="gain_segment_scenes", overrides=["train.training.epochs=3"])
    assert list(whole["stages"]) == ["train", "maps", "segment", "evaluation"]
    assert whole["stages"]["train"]["epochs"] == 3
    shorter = ["set.training.epochs=4", "set.method.warmup_epochs=1", "scheduler.grace_epochs=2"]
    searched = plan(kind="sweep", target="sweep_scenes_gain", overrides=[*shorter, "parallel=1"])
    assert (searched["trials"], searched["epochs"], searched["parallel"]) == (12, 4, 1)
    assert searched["objective"] == "max seed_miou"


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        (pipeline(train="store: {location: /elsewhere}"), ["train.store.location"]),
        (pipeline(below=f"maps: {{output: {{kind: store, location: {ROOT}/../elsewhere}}}}"), ["maps.output.location"]),
        (pipeline(below=f"maps: {{output: {{kind: png, location: {ROOT}/.service/jobs}}}}"), ["maps.output.location"]),
        (pipeline(above="tracking: {uri: 'http://attacker.example'}"), ["tracking.uri"]),
        (
            sweep("scenes_oaa", "store.location: [/a, /b], optimizer.lr: [0.1, 0.2]"),
            ["config:5: store.location = /a"],
        ),
        (sweep(set="store.location: /elsewhere"), ["config:4: store.location"]),
        (
            sweep(set="root: /elsewhere, tracking: {uri: 'http://attacker.example'}"),
            ["config:4: root = /elsewhere", "config:4: tracking.uri"],
        ),
    ],
)
def test_a_nested_place_is_the_services_to_say(asked: dict[str, Any], named: list[str]) -> None:
    found = faults(**asked)
    assert all(any(name in fault for fault in found) for name in named), found


def test_every_fault_is_told_at_once() -> None:
    places = ["train.store.location=/b", "maps.output={kind: png, location: /c}", "tracking.uri=http://a.example"]
    found = faults(kind="pipeline", target="gain_segment_scenes", id="x" * 61, overrides=places, address="ray://a:1")
    assert len(found) == 5
    for word in [*places, "address", "id"]:
        assert any(word in fault for fault in found), word
    unknown = faults(kind="pipeline", target="gain_segment_scenes", overrides=["train.epoch=3", "segment.store=1"])
    assert len(unknown) == 2
    searched = faults(kind="sweep", target="sweep_scenes_gain", overrides=["set.root=/a", "space.root=[/a]"])
    assert len(searched) >= 2
    assert sum("root = /a" in fault for fault in searched) == 2


@pytest.mark.parametrize("asked", [sweep(base="/etc/passwd"), pipeline(recipe="/etc/passwd")])
def test_no_file_of_the_services_machine_is_read(asked: dict[str, Any]) -> None:
    (found,) = [fault for fault in faults(**asked) if "passwd" in fault]
    assert "neither a recipe" in found


def test_a_kind_is_what_it_says() -> None:
    assert "submit sweep" in faults(kind="train", target="sweep_scenes_gain")[0]
    assert "submit train" in faults(kind="pipeline", target="scenes_gain")[0]
