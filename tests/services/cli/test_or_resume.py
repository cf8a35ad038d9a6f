"""`--or-resume`: one command begins a run, and goes on with it when it is given again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from attn.config.resolve import dump_config
from attn.run_state import RunState
from attn.runs.recipes import load_run
from attn.runs.sweep import load_sweep
from jobs.resume import EndedRun
from jobs.runs.run_folder import RunFolder
from tests.services.cli.conftest import Attn, attn

__all__ = ["attn"]


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """What was begun and resumed; nothing runs."""
    calls: list[tuple[str, Any]] = []

    def result(run_id: str) -> EndedRun:
        return EndedRun(run_id=run_id, folder="f", state=RunState(id=run_id, state="done"))

    def run(config: Any, *, run_id: str, address: str | None = None) -> EndedRun:
        calls.append(("begun", run_id))
        return result(run_id)

    def resume(run: str, *, root: str, address: str | None) -> EndedRun:
        calls.append(("resumed", f"{root}/{run}"))
        return result(run)

    for module in ("train", "sweep"):
        monkeypatch.setattr(f"jobs.{module}.run", run)
    monkeypatch.setattr("jobs.resume.resume", resume)
    return calls


@pytest.mark.parametrize(("kind", "recipe"), [("train", "scenes_gain"), ("sweep", "sweep_scenes_gain")])
def test_a_run_is_begun_once(attn: Attn, tmp_path: Path, done: list[tuple[str, Any]], kind: str, recipe: str) -> None:
    call = (kind, recipe, f"root={tmp_path}", "--run-id", "x", "--or-resume")
    assert attn(*call).status == 0
    RunFolder(str(tmp_path), "x").begin(kind=kind, state="running", epoch=1)
    assert attn(*call).status == 0
    assert done == [("begun", "x"), ("resumed", f"{tmp_path}/x")]


def test_it_needs_a_name_and_a_run_of_its_kind(attn: Attn, tmp_path: Path, done: list[tuple[str, Any]]) -> None:
    unnamed = attn("train", "scenes_gain", f"root={tmp_path}", "--or-resume")
    assert (unnamed.status, "give --run-id NAME" in unnamed.err) == (2, True)
    RunFolder(str(tmp_path), "x").begin(kind="evaluate", state="running")
    other = attn("train", "scenes_gain", f"root={tmp_path}", "--run-id", "x", "--or-resume")
    assert (other.status, "is of kind evaluate, not train" in other.err) == (1, True)
    assert done == []


def test_a_run_that_failed_by_its_own_fault_is_not_tried_again(
    attn: Attn, tmp_path: Path, done: list[tuple[str, Any]]
) -> None:
    """A loss of its machine, or an outage of its storage, is no fault of its own."""
    call = ("train", "scenes_gain", f"root={tmp_path}", "--run-id", "x", "--or-resume")
    folder = RunFolder(str(tmp_path), "x")
    folder.begin(kind="train", state="failed", error="no such folder")
    refused = attn(*call)
    assert (refused.status, "has failed, and would fail again: no such folder" in refused.err) == (1, True)
    assert done == []
    for cause in ("lost", "storage"):
        folder.update(cause=cause)
        assert attn(*call).status == 0
    assert len(done) == 2


@pytest.mark.parametrize(
    ("kind", "recipe", "given", "named"),
    [
        ("train", "scenes_gain", "training.epochs=7", "training.epochs"),
        ("sweep", "sweep_scenes_gain", "parallel=3", "parallel"),
        ("sweep", "sweep_scenes_gain", "set.training.epochs=7", "training.epochs"),
    ],
)
def test_values_that_are_not_used_are_named(
    attn: Attn, tmp_path: Path, done: list[tuple[str, Any]], kind: str, recipe: str, given: str, named: str
) -> None:
    folder = RunFolder(str(tmp_path), "x")
    if kind == "sweep":
        config, base = load_sweep(recipe, [f"root={tmp_path}"])
        folder.write("sweep.yaml", dump_config(config.model_copy(update={"recipe": "base.yaml", "set": {}})))
        folder.write("base.yaml", base)
    else:
        folder.write("config.yaml", dump_config(load_run(recipe, kind, [f"root={tmp_path}"])))
    folder.begin(kind=kind, state="running")
    call = (kind, recipe, "--run-id", "x", "--or-resume", f"root={tmp_path}")
    assert "not used" not in attn(*call).err
    assert f"goes on with its own values of {named}; those given here are not used" in attn(*call, given).err
    assert len(done) == 2
