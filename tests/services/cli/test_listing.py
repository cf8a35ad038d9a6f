"""`attn ls`: what tells runs apart, filters, sorting."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any

import pytest

from attn.process_identity import process_identity
from jobs.runs.listing import list_entries
from jobs.runs.run_folder import RunFolder

DAY = 86400.0
CONFIG = """
method: {name: gain}
data: {source: voc, split: lists/train_aug.txt, root: /data}
training: {epochs: 15, steps: null}
"""
SWEEP = "search: {name: random, trials: 20}\nspace: {method.alpha: {low: 0.1, high: 1.0}, optimizer.lr: {}}\n"


def write(root: Path, name: str, files: dict[str, str] | None = None, **state: Any) -> None:
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"id": name, **state}))
    for file, text in (files or {}).items():
        (folder / file).write_text(text)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "runs"
    identity = process_identity(os.getpid())
    here = {"state": "running", "pid": os.getpid(), "process": identity, "host": platform.node()}
    write(root, "old", {"config.yaml": CONFIG}, kind="train", state="done", started=DAY, seconds=200.0, epoch=15,
          metrics={"train/loss": 0.5, "val/mAP": 0.8764})  # fmt: skip
    about = {"what": "oaa", "data": "folder train", "epochs": 4}
    write(root, "new", kind="train", started=3 * DAY, about=about, epoch=1, metrics={"val/mean_ap": 0.9}, **here)
    write(root, "sw", {"config.yaml": SWEEP, "base.yaml": f"kind: train\n{CONFIG}", "progress.json": '{"ended": 4}'},
          kind="sweep", started=2 * DAY, metrics={"best/seed_miou": 0.5}, **{**here, "process": "gone:1"})  # fmt: skip
    write(root, "e", kind="evaluate", state="failed", started=4 * DAY, ended=4 * DAY + 8.5,
          target="/somewhere/runs/old/model")  # fmt: skip
    return root


def test_each_line_says_what_the_run_is(attn: Any, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = attn("ls", "--root", str(root)).out.splitlines()
    cells = [[cell for cell in line.split("  ") if cell] for line in lines]
    words = [[cell.strip() for cell in line] for line in cells]
    assert words[0] == ["run", "kind", "state", "what", "data", "scores, %", "progress", "started", "time"]
    rows = {line[0]: line for line in words[1:]}
    assert list(rows) == ["e", "new", "sw", "old"]
    assert rows["e"][1:4] == ["evaluate", "failed", "of old"]
    assert rows["e"][-1] == "8.5 s"
    assert rows["new"][1:7] == ["train", "running", "oaa", "folder train", "val/mean_ap 90.0", "1/4 epochs"]
    assert rows["sw"][1:7] == [
        "sweep", "interrupted", "gain: method.alpha, optimizer.lr", "voc train_aug.txt", "best/seed_miou 50.0",
        "4/20 trials",
    ]  # fmt: skip
    assert rows["old"][1:7] == ["train", "done", "gain", "voc train_aug.txt", "val/mean_ap 87.6", "15/15 epochs"]
    assert rows["old"][-1] == "3 min 20 s"


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (("--kind", "train"), ["new", "old"]),
        (("--kind", "train", "--kind", "sweep"), ["new", "sw", "old"]),
        (("--state", "interrupted"), ["sw"]),
        (("--state", "running", "--state", "failed"), ["e", "new"]),
        (("--since", "1970-01-03 06:00"), ["e", "new"]),
        (("--since", "2d"), []),
        (("--sort", "name"), ["e", "new", "old", "sw"]),
        (("--sort", "val/mean_ap"), ["new", "old", "e", "sw"]),
        (("--sort", "val/mAP", "--kind", "train"), ["new", "old"]),
        (("--sort", "seed_miou"), ["sw", "e", "new", "old"]),
    ],
)
def test_filters_and_sorting(attn: Any, root: Path, options: tuple[str, ...], names: list[str]) -> None:
    done = attn("ls", "--root", str(root), "--json", *options)
    assert [run["id"] for run in done.json["runs"]] == names
    states = [options[at + 1] for at, word in enumerate(options) if word == "--state"]
    assert all(run["state"] in states for run in done.json["runs"] if states)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--kind", "trian"), "--kind: 'trian' is not available (did you mean train? one of"),
        (("--state", "finished"), "--state: 'finished' is not available"),
        (("--since", "yesterday"), "--since: 'yesterday' is no time (2d, 3h"),
        (("--since", "2026-13-01"), "--since: '2026-13-01' is no time"),
        (("--sort", "nonsense"), "--sort: 'nonsense' is no field, and no run here has such a score (one of started"),
    ],
)
def test_wrong_filters_are_one_error(attn: Any, root: Path, options: tuple[str, ...], said: str) -> None:
    done = attn("ls", "--root", str(root), *options)
    assert (done.status, said in done.err, "Traceback" in done.err) == (2, True, False), done.err


def test_a_runs_entry_names_its_driver(root: Path) -> None:
    results = {entry.state.id: entry.to_json() for entry in list_entries(str(root))}
    assert [results[name].get("driver") for name in ("new", "sw", "old")] == ["here", "gone", None]
    assert results["old"]["about"] == {"what": "gain", "data": "voc train_aug.txt", "epochs": 15}
    assert (results["sw"]["state"], results["sw"]["about"]["trials"]) == ("interrupted", 20)


def test_a_score_that_only_trials_have_names_the_sweep(attn: Any, root: Path) -> None:
    RunFolder(str(root / "sw"), "sw-0000").update(kind="train", state="done", number=0, metrics={"val/f1": 0.5})
    done = attn("ls", "--sort", "val/f1", "--root", str(root))
    assert (done.status, done.out) == (2, "")
    assert "--sort: only trials of sweeps have the score 'val/f1' (`attn show sw` lists them" in done.err
