"""`--root X` and `root=X`: the same for every command that reads or writes runs, and one error where they differ."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from attn.errors import ConfigError
from services.cli.main import app
from services.cli.roots import merged_root

WITHOUT = {
    "recipes", "recipes show", "explain", "data check", "init",  # no run is read or written
    "store show", "store verify", "store gc", "store export",  # a store's own location
}  # fmt: skip


def commands() -> Iterator[tuple[str, Any]]:
    def walk(group: Any, words: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
        for name, command in group.commands.items():
            yield from (
                walk(command, (*words, name)) if hasattr(command, "commands") else [(" ".join((*words, name)), command)]
            )

    yield from walk(typer.main.get_command(app), ())


def test_every_command_about_runs_has_the_option() -> None:
    for name, command in commands():
        has = any("--root" in parameter.opts for parameter in command.params)
        assert has == (name not in WITHOUT), name


@pytest.mark.parametrize("words", [("ls",), ("models", "ls"), ("plan", "evaluate", "r"), ("status", "r")])
def test_both_spellings_mean_the_same(attn: Any, tmp_path: Path, words: tuple[str, ...]) -> None:
    root = tmp_path / "runs"
    (root / "r").mkdir(parents=True)
    (root / "r" / "run.json").write_text(json.dumps({"id": "r", "kind": "train", "state": "done"}))
    option, field = (attn(*words, *given) for given in (("--root", str(root)), (f"root={root}",)))
    both = attn(*words, f"--root={root}", f"root={root}/")
    assert option == field == both
    assert str(root) in option.err + option.out or option.status == 0


@pytest.mark.parametrize(
    "words", [("ls",), ("show", "r"), ("evaluate", "r"), ("models", "ls"), ("compare", "r"), ("train", "scenes_gain")]
)
def test_two_roots_are_one_error(attn: Any, words: tuple[str, ...]) -> None:
    done = attn(*words, "--root", "/a", "root=/b")
    assert done.status == 2
    assert "--root /a and root=/b differ" in done.err
    assert "give one of them" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("words", [("ls",), ("validate", "scenes_gain")])
def test_a_root_with_a_password_is_refused(attn: Any, words: tuple[str, ...]) -> None:
    done = attn(*words, "--root", "s3://me:secret@bucket/runs")
    assert done.status == 2
    assert "must not contain a user, password or key" in done.err
    assert "secret" not in done.err


def test_the_root_of_a_config(attn: Any, tmp_path: Path) -> None:
    done = attn("validate", "scenes_gain", "seed=3", "--root", f"{tmp_path}/a b", "--json")
    assert (done.json["config"]["root"], done.json["config"]["seed"]) == (f"{tmp_path}/a b", 3)
    submitted = attn("submit", "train", "gain", f"root={tmp_path}", "-y")
    assert (submitted.status, f"no service runs for {tmp_path}" in submitted.err) == (4, True)


def test_roots_by_other_names_of_one_place() -> None:
    assert merged_root("runs", ["root=./runs/"]) == "runs"
    assert merged_root(None, []) is None
    with pytest.raises(ConfigError, match=r"root=a and root=b differ"):
        merged_root(None, ["root=a", "root=b"])


@pytest.mark.parametrize(
    "words", [("ls",), ("status", "r"), ("show", "r"), ("resume", "r"), ("submit", "train", "gain")]
)
@pytest.mark.parametrize("spelling", ["--root=~/mine", "root=~/mine", "root=~/./mine/"])
def test_a_home_is_the_same_place_everywhere(
    attn: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], spelling: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    done = attn(*words, spelling)
    assert f"{tmp_path}/" in done.err + done.out
    assert "~" not in done.err + done.out


@pytest.mark.parametrize("given", [("--root", "runs", "root=other"), ("--root=other", "root=runs")])
def test_the_default_that_is_given_is_a_root_too(
    attn: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    done = attn("submit", "train", "gain", *given)
    assert (done.status, "differ" in done.err) == (2, True), done.err


@pytest.mark.parametrize("words", [("submit", "train", "gain"), ("ls",), ("show", "r")])
def test_a_root_with_a_login_is_refused(attn: Any, words: tuple[str, ...]) -> None:
    done = attn(*words, "root=s3://key:secret@bucket/runs")
    assert (done.status, "secret" in done.err, "Traceback" in done.err) == (2, False, False), done.err
