"""What an earlier version wrote opens in this one: a run's folder with its checkpoints, its map store and its model.

`runs/oaa` was made by 0.2.0.dev0 at commit 0a883ca, under the root `/runs`: OAA for one epoch on four scenes.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path

import pytest
import torch

from attn import store
from attn.config.resolve import dump_config
from attn.errors import RunError
from attn.models.bundle import load_bundle
from attn.runs.config_reader import read_config
from jobs import evaluate, train
from jobs.difference import run as difference
from jobs.ray_cluster.progress import Channel
from jobs.repro import run as repro
from jobs.resume import resume
from jobs.runs.listing import list_runs
from jobs.runs.run_folder import RunFolder
from tests.jobs.here import fit_here

LOGITS = [[-0.0022493423894047737, 0.003176499390974641]]
"""Of the model, as the version that trained it gave them."""
DIGEST = "1eb4767b42532316902badb650be9900ff2853b24ae40eb1650fea73d52d48d2"
"""Of the store's only version."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return Path(shutil.copytree(Path(__file__).with_name("runs"), tmp_path / "runs"))


def test_a_model_gives_what_it_gave(root: Path) -> None:
    model = load_bundle(root / "oaa")
    assert model.classes == ("boat", "plane")
    logits = model.network(torch.linspace(-1, 1, 3 * 32 * 32).reshape(1, 3, 32, 32)).logits
    torch.testing.assert_close(logits, torch.tensor(LOGITS), rtol=1e-4, atol=1e-6)


def test_a_store_holds_what_it_held(root: Path) -> None:
    opened = store.open(str(root / "oaa" / "store"))
    opened.verify()
    assert opened.at(1).digest() == DIGEST


def test_a_run_is_listed_scored_and_repeated(root: Path, tmp_path: Path) -> None:
    (listed,) = list_runs(str(root))
    assert (listed.id, listed.state, listed.epoch) == ("oaa", "done", 1)
    scored = evaluate.run(evaluate.load("oaa", [f"root={root}", "data.split=train", "panels=0"]))
    assert scored.images == 4
    assert repro("oaa", root=str(root), to=str(tmp_path / "again")).recipe.command[:2] == ["attn", "train"]
    assert resume("oaa", root=str(root)).metrics == listed.metrics


def test_a_run_is_compared_with_one_of_today(root: Path) -> None:
    """Fields that were added since count with their defaults, by which the earlier run was made."""
    again = Path(shutil.copytree(root / "oaa", root / "again"))
    text = (again / "config.yaml").read_text()
    config = read_config(text, "config.yaml")
    (again / "config.yaml").write_text(dump_config(config))
    found = difference("oaa", "again", root=str(root))
    assert (found.config, found.why_not) == ([], [])
    assert {one.difference for one in found.metrics} == {0}

    (again / "config.yaml").write_text(dump_config(read_config(text, "config.yaml", ["input.interpolation=bicubic"])))
    found = difference("oaa", "again", root=str(root))
    assert [(one.field, one.a, one.b) for one in found.config] == [("input.interpolation", "bilinear", "bicubic")]
    assert {one.difference for one in found.metrics} == {None}

    (again / "config.yaml").write_text(text.replace("shuffle: true", "shuffle: true\n  of_a_later_version: 1"))
    found = difference("oaa", "again", root=str(root))
    assert [(one.field, one.a, one.b) for one in found.config] == [("training.of_a_later_version", None, "1")]
    assert {one.difference for one in found.metrics} == {0}


def test_a_run_that_was_interrupted_is_continued(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "ray_session", lambda *_, **__: contextlib.nullcontext())
    monkeypatch.setattr(train, "follow", lambda *_, **__: contextlib.nullcontext())
    monkeypatch.setattr(train, "_fit", fit_here)
    monkeypatch.setattr(Channel, "mark_under_way", lambda channel: None)
    folder = RunFolder(str(root), "oaa")
    text = folder.read_text("config.yaml")
    assert "epochs: 1" in text
    folder.write("config.yaml", text.replace("epochs: 1", "epochs: 2"))
    folder.update(state="failed")
    done = resume("oaa", root=str(root))
    lines = [json.loads(line) for line in folder.read_text("metrics.jsonl").splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    assert done.store_version == 2
    assert done.model == f"{root}/oaa/model"


def test_an_interrupted_evaluation_is_done_again(root: Path) -> None:
    """Its `run.json` named the model alone, and its `config.yaml` had another header."""
    begun = evaluate.run(evaluate.load("oaa", [f"root={root}", "data.split=train", "panels=0"]), run_id="e")
    folder = RunFolder(str(root), "e")
    left = {"id": "e", "kind": "evaluate", "state": "running", "started": 1.0, "tracking_run": None, "model": "oaa"}
    folder.write("run.json", json.dumps(left))
    again = resume("e", root=str(root))
    assert (again.scores, folder.state().state) == (begun.scores, "done")


def test_a_comparison_that_does_not_say_what_it_compared(root: Path) -> None:
    folder = RunFolder(str(root), "c")
    folder.write("run.json", json.dumps({"id": "c", "kind": "compare", "state": "running", "compared": {"a": "oaa"}}))
    with pytest.raises(RunError, match="does not say what it compares: begin a new one"):
        resume("c", root=str(root))
