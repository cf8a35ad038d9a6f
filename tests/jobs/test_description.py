"""What a run's record says of the run: recipe, parameters, paper, data and command."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from attn.config.base import Config
from attn.methods import MethodConfig
from attn.run_state import RunState
from attn.runs.pipeline import load_pipeline
from attn.runs.recipes import config_text, load_config
from attn.runs.started import recipe_in, recipe_of, started_from
from attn.tracking import DataUsed
from attn.training.train_config import TrainConfig
from jobs.runs.about import about_of, about_run
from jobs.runs.description import describe_run
from jobs.runs.provenance import read_origin, record_origin
from jobs.runs.run_folder import RunFolder

DATA = DataUsed("scenes", "train", 64, "0123456789ab" * 5 + "cdef")
WHO = {"method": "gain", "data": "scenes train", "model": "tiny", "seed": "0"}


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(str(tmp_path), "run")


def described(config: Config, folder: RunFolder, recipe: str | None, kind: str = "train") -> Any:
    with started_from(recipe):
        return describe_run(kind, config, folder, DATA)


def test_parameters_are_those_that_differ_from_the_recipe(folder: RunFolder) -> None:
    overrides = ["data.count=64", "method.alpha=0.3", f"root={folder.root}", "tracking.preview_images=2"]
    config = load_config(TrainConfig, "scenes_gain", overrides)
    changed = {"data.count": "64", "method.alpha": "0.3"}
    assert described(config, folder, "scenes_gain").params == {"recipe": "scenes_gain", **WHO, **changed}
    without = described(config, folder, None).params
    assert "recipe" not in without
    assert {**WHO, **changed, "training.epochs": "16"}.items() <= without.items(), "of no recipe: from the defaults"
    assert "method.mask_scale" not in without
    other = load_config(TrainConfig, "scenes_gain", ["method.name=icasc"])
    theirs = {"method": "icasc", "method.map_kind": "channel"}
    params = described(other, folder, "scenes_gain").params
    assert {"recipe": "scenes_gain", **WHO, **theirs}.items() <= params.items()
    assert {name for name in params if name.startswith("method.")} <= set(theirs) | {
        "method.mask_scale",
        "method.weight_gradient",
    }, "of another method not what it leaves at defaults that the recipe's does not have"


def test_a_stage_is_compared_with_its_section_of_the_pipeline(folder: RunFolder) -> None:
    config = load_pipeline("gain_segment_scenes", ["train.training.epochs=3", "segment.training.epochs=2"])
    params = described(config.train, folder, "gain_segment_scenes").params
    assert params == {"recipe": "gain_segment_scenes", **WHO, "training.epochs": "3"}
    params = described(config.segment, folder, "gain_segment_scenes", "segment").params
    assert params["training.epochs"] == "2"
    whole = described(config, folder, "gain_segment_scenes", "pipeline").params
    assert {
        "train.training.epochs": "3",
        "train.method": "gain",
        "evaluation.data": "scenes val",
    }.items() <= whole.items()
    assert not [name for name in whole if name.endswith(("root", "kind")) or "tracking" in name]


def test_the_description_has_paper_data_and_command(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    config = load_config(TrainConfig, "scenes_gain", [])
    text = described(config, folder, "scenes_gain").text
    assert text.splitlines()[0] == "GAIN on generated scenes: maps grow from the telling part over the body"
    assert "**Paper:** Li et al., Tell Me Where to Look: Guided Attention Inference Network (CVPR 2018)" in text
    assert "**Data:** scenes train, 64 images, fingerprint 0123456789ab" in text
    assert f"attn train {folder.path('config.yaml')}" in re.sub(r" \\\n +", " ", text), (
        "begun in Python: its config repeats it"
    )
    words = [
        "/somewhere/attn",
        "train",
        "scenes_gain",
        "--run-id",
        "gain",
        "data.classes=[car, cat]",
        "data.root=s3://me:secret@b/x",
    ]
    monkeypatch.setattr(sys, "argv", words)
    command = described(config, folder, "scenes_gain").text.partition("```bash\n")[2]
    assert command.startswith("attn train scenes_gain 'data.classes=[car, cat]'"), "the id is taken"
    assert "secret" not in command
    many = [f"a.b{number}=some value" for number in range(40)]
    monkeypatch.setattr(sys, "argv", ["attn", "train", "x", "--run-id=gain", *many])
    lines = described(config, folder, None).text.partition("```bash\n")[2].removesuffix("\n```").splitlines()
    assert max(map(len, lines)) < 100
    assert shlex.split("\n".join(lines).replace("\\\n", "")) == ["attn", "train", "x", *many]


def test_a_file_called_like_a_recipe_is_read_and_recorded_as_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for text, recipe in (("recipe: scenes_oaa\n", "scenes_oaa"), ("seed: 1\n", None)):
        Path("gain").write_text(text)
        assert config_text("gain") == (text, "gain")
        assert recipe_of("gain") == recipe
    Path("gain").unlink()
    assert recipe_of("gain") == "gain"
    assert recipe_of("sweep_gain") == "sweep_gain"


def test_a_file_names_the_recipe_that_it_starts_from(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("recipe: scenes_gain\ndata: {count: 64}\n")
    assert recipe_of(str(file)) == "scenes_gain"
    assert recipe_of("scenes_oaa") == "scenes_oaa"
    for text in ("data: {count: 64}", "recipe: [1]", "recipe: {", "- 1"):
        assert recipe_in(text, "test") is None
    config = load_config(TrainConfig, "scenes_gain", [])
    assert "recipe" not in described(config, RunFolder(str(tmp_path), "run"), "no_such_recipe").params


def test_the_recipe_of_an_override_is_the_recipe(tmp_path: Path, folder: RunFolder) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("recipe: gain\ndata: {source: voc, root: /x}\n")
    for target, overrides, expected in (
        (str(file), ["seed=1", "recipe=gain_ext"], "gain_ext"),
        (str(file), ["method.name=grad_cam"], "gain"),
        ("gain", ["recipe=icasc"], "icasc"),
        ("gain", ["recipe=no_such"], None),
    ):
        assert recipe_of(target, overrides) == expected
    assert recipe_in("recipe: gain", "config", overrides=["recipe=oaa"]) == "oaa"
    config = load_config(TrainConfig, str(file), ["recipe=gain_ext"])
    record = described(config, folder, recipe_of(str(file), ["recipe=gain_ext"]))
    assert record.params["recipe"] == "gain_ext"
    assert not [name for name in record.params if name.startswith("method.")], "nothing of it was overridden"
    assert record.text.startswith("GAIN_ext on photographs")


@pytest.mark.parametrize(
    ("recipe", "override", "title"),
    [
        ("gain", "method.name=grad_cam", "grad_cam, from the recipe gain"),
        ("gain", "method.extra_supervision=boxes", "gain with boxes, from the recipe gain"),
        ("gain_ext", "method.extra_supervision=none", "gain, from the recipe gain_ext"),
        ("gain", "method.alpha=0.5", "GAIN on photographs: maps that cover what tells of the class"),
    ],
)
def test_a_run_by_another_method_has_not_the_recipe_s_title(
    folder: RunFolder, recipe: str, override: str, title: str
) -> None:
    assert described(load_config(TrainConfig, recipe, [override]), folder, recipe).text.splitlines()[0] == title


def test_what_a_run_is_about_tells_methods_and_versions_apart(folder: RunFolder) -> None:
    whats = [about_of("train", load_config(TrainConfig, name, []).model_dump()).what for name in ("gain", "gain_ext")]
    assert whats == ["gain", "gain with masks"]
    recipe = load_config(TrainConfig, "gain", []).model_dump()
    other = load_config(TrainConfig, "gain", ["model.name=resnet18"]).model_dump()
    assert [about_of("train", one, recipe=recipe).what for one in (recipe, other)] == ["gain", "gain (resnet18)"]
    assert about_of("train", other).what == "gain", "of no recipe that is known"
    made = {"scales": [0.5, 1.0], "flip": True, "refine": {"name": "affinity"}}
    for kind, config in (("maps", made), ("evaluate", {"maps": made}), ("compare", {"maps": made})):
        assert about_of(kind, config).maps == "2 scales, flip, affinity"
        assert about_of(kind, config | {"map_kind": "cam"}).maps == "cam, 2 scales, flip, affinity"
    assert about_of("evaluate", {"maps": {"scales": [1.0], "flip": False, "refine": None}}).maps is None
    assert about_of("evaluate", {"maps": {"scales": 3}}).maps is None, "a config that somebody has changed"
    pipeline, theirs = {"train": other, "segment": recipe}, {"train": recipe, "segment": recipe}
    assert about_of("pipeline", pipeline, recipe=theirs).what == "gain (resnet18) + gain"
    for target, expected in (("looker/2", "looker/2"), ("models:/looker/12", "looker/12"), ("looker@champion",) * 2,
                             ("runs/gain/model", "gain"), ("s3://b/runs/7/store", "runs/7"), ("2", "2")):  # fmt: skip
        state = RunState.of({"id": "e", "kind": "evaluate", "state": "done", "target": target})
        assert about_run(folder, state).what == f"of {expected}"


def test_a_run_notes_its_recipe(folder: RunFolder) -> None:
    with started_from("gain"):
        record_origin(folder)
    assert read_origin(folder).recipe == "gain"


@pytest.mark.parametrize("name", sorted(MethodConfig.members))
def test_every_method_names_its_paper(name: str) -> None:
    paper = MethodConfig.members[name].paper
    assert paper.endswith(tuple(f" {year})" for year in range(2015, 2030))), paper
