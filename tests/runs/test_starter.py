"""The file that `attn init` writes is the recipe with what the user sets, also with every # before a field removed."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from attn.runs.recipes import find_recipe, load_any_config, load_run
from attn.runs.starter import starter
from attn.runs.sweep.config import SweepConfig
from attn.runs.table import file_kinds

CASES = [
    ("scenes_gain", [], []),
    ("gain", ["data.source=coco"], ["data.root=path/to/images"]),
    ("gain", ["data.source=manifest", "data.manifest=t.csv", "training.epochs=3", "data.classes=[cat, hot dog]"], []),
    ("icasc_voc_paper", ["data={source: folder, root: photos}", "optimizer.name=adamw", "optimizer.lr=0.01"], []),
    ("attnbn", ["method.source.root=other"], []),
    ("oaa_plus", ["seed=7"], []),
    ("sec", ["data.source=folder"], ["data.root=path/to/images"]),
    ("oaa_plus_largefov_photographs", ["data.source=folder", "data.root=photos"], []),
    ("grad_cam_segment_scenes", ["train.seed=3"], []),
    ("sweep_gain", ["data.source=coco", "data.root=c", "space.method.alpha=[0.1, 0.2]"], []),
    ("sweep_scenes_gain", [], []),
]


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def resolved(target: str, overrides: list[str]) -> Any:
    config = load_any_config(target, overrides)
    return load_run(target, "sweep", overrides) if isinstance(config, SweepConfig) else config


@pytest.mark.parametrize(("recipe", "overrides", "filled"), CASES, ids=[f"{one[0]}-{len(one[1])}" for one in CASES])
def test_the_file_is_the_recipe_with_what_is_set(recipe: str, overrides: list[str], filled: list[str]) -> None:
    outcome = starter(recipe, "my.yaml", overrides)
    Path("my.yaml").write_text(outcome.text)
    expected = resolved(recipe, [*filled, *overrides])
    result = resolved("my.yaml", [])
    if isinstance(expected, tuple):
        assert result.base == expected.base
        assert result.config.space == expected.config.space
        assert result.config.search == expected.config.search
    else:
        assert result == expected
    assert set(outcome.missing) >= {text.partition("=")[0] for text in filled}
    for name in outcome.missing:
        assert re.search(rf"^ +(?:# )?{name.rpartition('.')[2]}: ", outcome.text, re.MULTILINE)
    head, _, body = outcome.text.partition("\n\n")
    fields = [re.sub(r"^( *)# ( *[\w.]+:)", r"\1\2", line) for line in body.splitlines() if "# #" not in line]
    Path("all.yaml").write_text("\n".join([head, *fields]))
    every = resolved("all.yaml", [])
    assert every.base == expected.base if isinstance(expected, tuple) else every == expected
    assert max(map(len, outcome.text.splitlines())) <= 140
    assert len(outcome.text.splitlines()) < 110


def test_every_kind_says_what_to_run_next() -> None:
    recipes = {"train": "gain", "segment": "sec", "pipeline": "gain_sec_voc", "sweep": "sweep_gain"}
    assert set(recipes) == set(file_kinds())
    for kind, recipe in recipes.items():
        result = starter(recipe, "my.yaml", [])
        assert (result.kind, result.commands[-1]) == (kind, f"attn {kind} my.yaml")
        assert find_recipe(recipe).summary in result.text


@pytest.mark.parametrize(
    ("recipe", "sections"),
    [("gain", [()]), ("sec", [()]), ("oaa_plus_segment_scenes", [("train",), ("integral",), ("segment",)])],
)
def test_weights_and_sizes_are_among_the_fields_to_change(recipe: str, sections: list[tuple[str, ...]]) -> None:
    lines = starter(recipe, "my.yaml", []).text.splitlines()
    shown = yaml.safe_load("\n".join(re.sub(r"^( *)# ( *\w+:)", r"\1\2", line) for line in lines if "# #" not in line))
    for section in sections:
        fields = functools.reduce(dict.__getitem__, section, shown)
        assert ("size" in fields["input"], "weights" in fields["model"]) == (True, True), section


@pytest.mark.parametrize(
    ("recipe", "fields"),
    [
        ("sec", ["labels.saliency", "labels.threshold"]),
        ("gain_sec_photographs", ["segment.labels.saliency", "segment.labels.threshold", "maps.refine"]),
        ("oaa_plus_segment_scenes", ["segment.labels.saliency", "maps.refine"]),
        ("oaa_largefov_voc", ["segment.labels.saliency", "refine"]),
    ],
)
def test_what_decides_over_cues_is_among_the_fields_to_change(recipe: str, fields: list[str]) -> None:
    lines = starter(recipe, "my.yaml", []).text.splitlines()
    shown = yaml.safe_load("\n".join(re.sub(r"^( *)# ( *\w+:)", r"\1\2", line) for line in lines if "# #" not in line))
    for field in fields:
        *sections, name = field.split(".")
        assert name in functools.reduce(dict.__getitem__, sections, shown), field


def test_a_list_that_goes_on_is_not_cut() -> None:
    assert "`cue_miou`, ..." in " ".join(starter("sweep_gain", "my.yaml", []).text.split())
