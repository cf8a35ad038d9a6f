"""`attn init` writes a file that the other commands take, and leaves what is there."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from attn.runs.recipes import load_any_config


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_file_of_data_is_named_as_seen_from_the_new_file(attn: Any) -> None:
    Path("photos.yaml").write_text("source: folder\nroot: photos\n")
    Path("sub").mkdir()
    done = attn("init", "gain", "sub/my.yaml", "--data", "photos.yaml", "training.epochs=3", "--json")
    assert done.json == {
        "file": "sub/my.yaml",
        "kind": "train",
        "missing": [],
        "next": ["attn data check sub/my.yaml", "attn train sub/my.yaml"],
    }
    assert "\ndata: ../photos.yaml  " in Path("sub/my.yaml").read_text()
    assert load_any_config("sub/my.yaml", []) == load_any_config("gain", ["data=photos.yaml", "training.epochs=3"])
    assert attn("validate", "sub/my.yaml").status == 0
    again = attn("init", "sub/my.yaml", "second.yaml", "seed=3")
    assert again.status == 0
    assert load_any_config("second.yaml", []) == load_any_config("sub/my.yaml", ["seed=3"])


@pytest.mark.parametrize("name", ["a b.yaml", "it's.yaml", "$(x).yaml"])
def test_the_next_commands_can_be_pasted(attn: Any, name: str) -> None:
    done = attn("init", "gain", name, "--json")
    assert [shlex.split(line)[-1] for line in done.json["next"]] == [name, name]
    assert f"attn train {shlex.quote(name)}" in Path(name).read_text()


def test_nothing_is_overwritten(attn: Any) -> None:
    Path("my.yaml").write_text("mine")
    done = attn("init", "gain", "my.yaml")
    assert (done.status, Path("my.yaml").read_text()) == (2, "mine")
    assert "my.yaml: is there already (choose another name" in done.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["gain", "my"], "my: is not the name of a YAML file (my.yaml)"),
        (["gian", "my.yaml"], "gian: is neither a recipe nor a file (did you mean gain?"),
        (["gain", "no/my.yaml"], "no/my.yaml: cannot be written: No such file or directory"),
        (
            ["gain", "my.yaml", "training.epoch=3"],
            "training.epoch is not a known field (did you mean training.epochs?)",
        ),
        (["gain", "my.yaml", "data.source=foldr"], "data.source = 'foldr' is not available"),
        (["gain", "my.yaml", "--data", "no.yaml"], "data = no.yaml cannot be read: there is no such file"),
        (["gain", "my.yaml", "--data", "no.yaml", "data.split=val"], "data = no.yaml cannot be read: there is no"),
        (["gain", "my.yaml", "--data", "p.yaml", "data.splitt=val"], "data.splitt is not a known field"),
        (["gain", "my.yaml", "recipe=oaa"], "is the first argument"),
    ],
)
def test_what_does_not_fit_is_one_error_and_leaves_no_file(attn: Any, arguments: list[str], said: str) -> None:
    Path("p.yaml").write_text("source: folder\nroot: photos\n")
    done = attn("init", *arguments)
    assert (done.status, said in done.err) == (2, True), done.err
    assert not Path("my.yaml").exists()


@pytest.mark.parametrize("section", ["", "train."])
def test_fields_lie_over_those_of_a_file_of_data(attn: Any, section: str) -> None:
    """As for `attn train`; what the file says besides stays, and stands in the new file."""
    Path("p.yaml").write_text("source: folder\nroot: photos\nsplit: train\nmasks: drawn\n")
    recipe = "gain_sec_voc" if section else "gain"
    given = [f"{section}data=p.yaml", f"{section}data.split=val", f"{section}data.root=others"]
    assert attn("init", recipe, "my.yaml", *given).status == 0
    done = attn("validate", "my.yaml", "--json")
    assert done.status == 0, done.err
    config = done.json["config"]
    data = (config["train"] if section else config)["data"]
    assert (data["source"], data["split"], data["masks"]) == ("folder", "val", "drawn")
    assert data["root"] == str(Path.cwd() / "others")
    direct = attn("validate", recipe, *given, "--json").json["config"]
    assert (direct["train"] if section else direct)["data"] == data


def test_a_relative_root_starts_from_the_working_directory(
    attn: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    mine, data = "../files/mine.yaml", "../files/data.yaml"
    assert attn("init", "gain", mine, "data.source=folder", "data.root=photos").status == 0
    assert "a relative path starts from the working directory" in Path(mine).read_text()
    Path(data).write_text("source: folder\nroot: photos\n")
    for arguments in ([mine], ["gain", f"data={data}"], ["gain", "data.source=folder", "data.root=photos"]):
        done = attn("validate", *arguments, "--json")
        assert done.json["config"]["data"]["root"] == str(tmp_path / "work" / "photos")
