"""A recipe of one kind that is given to the command of another: one error, which names the command that runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from attn.config.document import read_document
from attn.errors import ConfigError
from attn.runs.config_reader import kind_in
from attn.runs.recipes import list_recipes
from attn.runs.table import file_kinds
from services.admission import load
from services.submission import Submission

RECIPES = {"train": "gain", "segment": "segment_scenes", "pipeline": "gain_sec_voc", "sweep": "sweep_scenes_gain"}
COMMANDS = {
    ("train",): "train",
    ("segment",): "segment",
    ("segment", "train"): "segment",
    ("segment", "cues"): "segment",
    ("pipeline",): "pipeline",
    ("sweep",): "sweep",
    ("sweep", "run"): "sweep",
}


def test_every_kind_has_a_recipe() -> None:
    kinds = {recipe.name: kind_in(read_document(recipe.text, recipe.name)) for recipe in list_recipes()}
    assert set(kinds.values()) == set(RECIPES) == set(file_kinds())
    assert {kind: kinds[name] for kind, name in RECIPES.items()} == {kind: kind for kind in file_kinds()}


@pytest.mark.parametrize("given", file_kinds())
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_command_names_the_one_that_is_right(attn: Any, command: tuple[str, ...], given: str) -> None:
    wanted, recipe = COMMANDS[command], RECIPES[given]
    if given == wanted:
        return
    done = attn(*command, recipe, "training.epochs=0")
    assert done.status == 2
    assert done.err.count("error: ") == 1
    assert f"is of kind {given}, not {wanted} (use `attn {given} {recipe}`" in done.err
    before = "its stage `cues` makes and scores them before the network trains" in done.err
    assert before == (command[-1] == "cues" and given == "pipeline")


@pytest.mark.parametrize("wanted", file_kinds())
def test_a_service_is_told_the_same(wanted: str) -> None:
    for given, recipe in RECIPES.items():
        if given != wanted:
            submission = Submission.model_validate({"id": "a", "kind": wanted, "target": recipe})
            with pytest.raises(ConfigError, match=rf"is of kind {given}, not {wanted} \(submit {given} {recipe}\)"):
                load(submission, "/runs")


def test_a_file_without_a_kind_is_told_what_to_write(attn: Any, tmp_path: Path) -> None:
    (tmp_path / "my own.yaml").write_text("data: {source: scenes}\n")
    for command, kind in (("segment", "segment"), ("pipeline", "pipeline"), ("sweep", "sweep")):
        done = attn(command, f"{tmp_path}/my own.yaml")
        assert done.status == 2
        said = f"has no field `kind`, and so is of kind train, not {kind} (use `attn train '{tmp_path}/my own.yaml'`)"
        assert said in done.err


@pytest.mark.parametrize("kind", ["trian", "3", "[train]", "evaluate"])
@pytest.mark.parametrize("command", ["train", "segment", "pipeline", "sweep", "validate", "plan"])
def test_a_kind_that_there_is_not(attn: Any, tmp_path: Path, command: str, kind: str) -> None:
    (tmp_path / "a.yaml").write_text(f"seed: 1\nkind: {kind}\n")
    done = attn(command, f"{tmp_path}/a.yaml")
    assert done.status == 2
    assert "a.yaml:2: kind = " in done.err
    assert "is not available (one of train, segment, pipeline, sweep)" in done.err
