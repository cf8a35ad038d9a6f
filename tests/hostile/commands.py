"""Commands that somebody gives a wrong place, a wrong model, or fields of any value: each is one error, or an answer.

`fields` makes config overrides from a seed. `COMMANDS` are words of a command line for each entry of a table; in them
`{name}` stands for a place that `prepare` makes.
"""

from __future__ import annotations

__all__ = ["COMMANDS", "FULL_DISK", "fields", "prepare"]

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from attn.data.sources.generated import ScenesConfig
from attn.runs.recipes import load_any_config
from tests.bundles import tiny_bundle, tiny_segmenter
from tests.hostile.stores import STORES

RECIPES = (
    "scenes_gain", "scenes_oaa_plus", "scenes_attnbn", "segment_scenes", "gain_segment_scenes", "sweep_scenes_gain",
)  # fmt: skip
WRONG: tuple[object, ...] = (
    None, True, -1, 0, 1.5, 2**63, 10**30, 1e308, float("nan"), float("inf"), -float("inf"), "", "x", "x" * 5000,
    "../../etc/passwd", "a\0b", "\u202ex", [], [[]], [None], {}, {"x": {"y": [1]}}, [0, 0], [-4, 5],
    [1e99, float("nan")],
)  # fmt: skip
FULL_DISK = "on a full disk"
"""Part of the names of commands that may write a few bytes only."""


def prepare(place: Path) -> dict[str, str]:
    """Places by name: models of two tasks, of other classes, a store, an image, folders of several kinds."""
    names = ("classifier", "segmenter", "others", "store", "empty", "taken", "file", "image", "absent")
    places = {name: place / name for name in names}
    tiny_bundle(places["classifier"])
    tiny_segmenter(places["segmenter"])
    tiny_segmenter(places["others"], classes=("x", "y"))
    STORES["good"](places["store"], np.random.default_rng(0))
    places["empty"].mkdir()
    places["taken"].mkdir()
    (places["taken"] / "run.json").write_text(json.dumps({"id": "taken", "kind": "train", "state": "done"}))
    places["file"].write_text("a text\n")
    places["image"] = places["image"].with_suffix(".png")
    Image.fromarray(ScenesConfig(count=1, size=48).build().load(0).image).save(places["image"])
    return {name: str(path) for name, path in places.items()}


def fields(seed: int, count: int) -> dict[str, tuple[str, ...]]:
    """Commands that only look at a config, with some of its fields at values of any kind."""
    rng = np.random.default_rng([seed, 7])
    paths = {recipe: _paths(_values(recipe)) for recipe in RECIPES}
    results: dict[str, tuple[str, ...]] = {}
    for number in range(count):
        recipe = RECIPES[int(rng.integers(len(RECIPES)))]
        chosen = rng.choice(paths[recipe], size=int(rng.integers(1, 4)), replace=False).tolist()
        if rng.random() < 0.2:
            chosen.append(f"{chosen[0]}.unknown")
        given = [f"{name}={_written(WRONG[int(rng.integers(len(WRONG)))])}" for name in chosen]
        command = ("plan", "validate")[int(rng.integers(2))]
        results[f"fields {number}: {command} {recipe} {' '.join(given)[:80]}"] = (command, recipe, *given)
    return results


def _values(recipe: str) -> dict[str, Any]:
    return json.loads(load_any_config(recipe, []).model_dump_json())


def _paths(values: dict[str, Any], before: str = "") -> list[str]:
    results: list[str] = []
    for name, value in values.items():
        results.append(f"{before}{name}")
        if isinstance(value, dict):
            results += _paths(value, f"{before}{name}.")
    return results


def _written(value: object) -> str:
    return json.dumps(value).replace("NaN", ".nan").replace("-Infinity", "-.inf").replace("Infinity", ".inf")


_QUIET = ("tracking.enabled=false", "root={empty}")
_DATA = ("data.source=scenes", "data.count=4", "data.size=48")
_TARGETS = (
    "{store}", "{segmenter}", "{others}", "{file}", "{empty}", "{absent}", "{taken}", "", "a\0b", "x" * 300, "s3://",
    "@",
)  # fmt: skip
_OTHERS = tuple(target for target in _TARGETS if target != "{store}")

COMMANDS: dict[str, tuple[str, ...]] = {
    **{f"evaluate {name[:20]!r}": ("evaluate", name, *_QUIET) for name in _OTHERS},
    **{f"maps of {name[:20]!r}": ("maps", name, *_QUIET) for name in _TARGETS},
    **{f"compare {name[:20]!r}": ("compare", name, "{classifier}", *_QUIET) for name in _TARGETS},
    **{f"predict by {name[:20]!r}": ("predict", "{image}", "--model", name, "--out", "{empty}/o")
       for name in _TARGETS if name not in ("{segmenter}", "{others}")},
    **{f"segment predict by {name[:20]!r}": ("segment", "predict", name, *_QUIET)
       for name in ("{classifier}", *_TARGETS) if name not in ("{segmenter}",)},
    **{f"export {name[:20]!r}": ("models", "export", name, "--to", "{empty}/m.onnx")
       for name in _TARGETS if name not in ("{segmenter}", "{others}")},
    **{f"store {what} of {name[:20]!r}": ("store", what, name)
       for what in ("show", "verify", "gc") for name in ("{classifier}", *_OTHERS)},
    **{f"store export of {name[:20]!r}": ("store", "export", name, "{empty}/x")
       for name in ("{classifier}", *_OTHERS)},
    **{f"growth of {name[:20]!r}": ("store", "growth", name) for name in ("{classifier}", *_OTHERS)},
    **{f"resume {name[:20]!r}": ("resume", name) for name in _TARGETS},
    **{f"cues from {name[:20]!r}": ("segment", "cues", "segment_scenes", *_QUIET, f"labels.maps.location={name}")
       for name in _TARGETS},
    **{f"segment of {name[:20]!r}": ("segment", name, *_QUIET) for name in _TARGETS},
    **{f"pipeline of {name[:20]!r}": ("pipeline", name, *_QUIET) for name in _TARGETS},
    **{f"export to {where}": ("store", "export", "{store}", where)
       for where in ("{file}", "/proc/x", "/dev/null/x", "s3://")},
    **{f"export as {form!r}": ("store", "export", "{store}", "{empty}/x", "--format", form)
       for form in ("", "jpg", "PNG")},
    **{f"version {version}": ("store", "export", "{store}", "{empty}/x", "--version", version)
       for version in ("-1", "7", "9" * 30, "x")},
    **{f"predict into {where}": ("predict", "{image}", "--model", "{classifier}", "--out", where)
       for where in ("{file}", "/proc/x", "/dev/null", "x\0y", "s3://")},
    **{f"predict classes {names!r}": ("predict", "{image}", "--model", "{classifier}", "--classes", names)
       for names in ("", ",", "nothing", "x" * 3000)},
    **{f"a run that is there, {command}": (command, recipe, "--run-id", "taken", "root={empty}/..", *_QUIET[:1])
       for command, recipe in
       (("train", "scenes_gain"), ("segment", "segment_scenes"), ("sweep", "sweep_scenes_gain"))},
    **{f"{command} into a root without a bucket": (command, recipe, "root=s3://", "tracking.enabled=false")
       for command, recipe in
       (("train", "scenes_gain"), ("segment", "segment_scenes"), ("sweep", "sweep_scenes_gain"),
        ("pipeline", "gain_segment_scenes"), ("maps", "{classifier}"), ("compare", "{classifier}"))},
    **{f"run id {name[:20]!r}": ("train", "scenes_gain", "--run-id", name, *_QUIET)
       for name in ("", "..", "a/b", "a" * 300, "mlflow.db", "a\0b")},
    f"predict {FULL_DISK}": ("predict", "{image}", "--model", "{classifier}", "--out", "{empty}/o"),
    f"maps {FULL_DISK}": ("maps", "{classifier}", *_QUIET, *_DATA, "data.count=100"),
    f"evaluate {FULL_DISK}": ("evaluate", "{classifier}", *_QUIET, *_DATA),
    f"compare {FULL_DISK}": ("compare", "{classifier}", *_QUIET, *_DATA),
    f"store export {FULL_DISK}": ("store", "export", "{store}", "{empty}/x.npz", "--format", "npz"),
    f"segment predict {FULL_DISK}": ("segment", "predict", "{segmenter}", *_QUIET, *_DATA),
}  # fmt: skip
"""By what is tried, the words; none of them is of use as it stands."""
