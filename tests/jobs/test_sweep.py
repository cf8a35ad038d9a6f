"""A sweep of real trainings: killed and gone on with, it has the planned trials, in its folder and in MLflow."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import Mock

import psutil
import pytest
import torch

from attn.config.resolve import dump_config
from attn.models.bundle import load_bundle
from attn.registry.mlflow_registry import Registry
from attn.runs.recipes import load_any_config, load_run
from attn.runs.sweep import SweepConfig
from attn.runs.sweep.load import LoadedSweep, read_sweep
from attn.tracking.address import tracking_uri
from attn.tracking.mlflow_children import children
from attn.training.train_config import TrainConfig
from jobs import sweep, train
from jobs.resume import resume
from jobs.runs.run_folder import RunFolder
from jobs.sweeps.results import read_rows
from jobs.sweeps.trial_folder import trial_folder
from tests.conftest import S3_KEYS
from tests.environment import without_ray
from tests.leaks import leaks, session_logs, under
from tests.tracking.migrated import new_record

TEXT = """
kind: sweep
recipe: scenes_gain
set:
  data.count: 16
  data.size: 32
  input.size: 32
  model.widths: [8, 8, 8]
  training.epochs: 2
  training.batch_size: 8
  method.warmup_epochs: 0
  cluster.workers: 1
space:
  training.batch_size: [8]
  optimizer.lr: [0.01, 0.001, 1e+30]
search: {name: grid}
objective: {metric: seed_miou}
tracking: {register_as: swept, alias: champion}
"""

POPULATION = """
space: {optimizer.lr: [0.01, 1.0e-6]}
search: {name: grid}
scheduler: {name: pbt, every_epochs: 1, quantile: 0.5}
objective: {metric: train/loss, mode: min}
parallel: 1
tracking: {enabled: false}
"""


def test_its_folder_repeats_it_without_what_it_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photos.yaml").write_text("source: folder\nroot: /photos\n")
    changes = [f"data={tmp_path}/photos.yaml", "tracking.enabled=false", f"root={tmp_path}/runs"]
    loaded = load_run("sweep_scenes_gain", "sweep", changes)  # its `set.data.count` is of another source

    def begun(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sweep, "_run", begun)
    with pytest.raises(KeyboardInterrupt):
        sweep.run(loaded, run_id="s")
    (tmp_path / "photos.yaml").unlink()
    again = load_run(f"{tmp_path}/runs/s/sweep.yaml", "sweep", [])
    assert (again.base, again.config.space) == (loaded.base, loaded.config.space)


def test_lost_trials_go_on_and_failed_ones_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = TEXT.replace("register_as: swept, alias: champion", "enabled: false")
    config, base = read_sweep(text, "sweep.yaml", [f"root={tmp_path}"])
    folder, begun = RunFolder(str(tmp_path), "s"), list[list[int]]()
    folder.begin(kind="sweep", state="running")
    folder.write("sweep.yaml", dump_config(config.model_copy(update={"recipe": "base.yaml", "set": {}})))
    folder.write("base.yaml", base)
    ends = {0: ["lost", "storage", "done"], 1: ["failed"], 2: ["lost"] * 10}

    def tune(self: sweep._Sweep, plan: object, reported: object) -> None:
        begun.append(list(self.left))
        for number in self.left:
            end = ends[number].pop(0)
            of_end = {"lost": {"state": "running"}, "storage": {"state": "failed", "cause": "storage", "error": "away"}}
            trial_folder(folder, number).begin(
                kind="train",
                number=number,
                values={"optimizer.lr": 0.01},
                epoch=len(begun),
                **of_end.get(end, {"state": end}),
            )

    monkeypatch.setattr(sweep._Sweep, "tune", tune)
    sweep._Sweep(config, base, folder).run(Mock(), Mock())
    assert begun == [[0, 1, 2], [0, 2], [0, 2], [2]]
    rows = read_rows(folder)
    assert [(row.state, row.cause, row.ended) for row in rows] == [
        ("done", None, True),
        ("failed", None, True),
        ("failed", "lost", False),
    ]
    assert rows[2].error == "its process was lost before the trial had ended"

    ends[2] = ["done"]
    folder.update(state="done")

    def again(config: SweepConfig, base: str, live: object, address: object) -> sweep.SweepResult:
        sweep._Sweep(config, base, folder).run(Mock(), Mock())
        return sweep.result_of(config, folder)

    monkeypatch.setattr(sweep, "_run", again)
    assert resume("s", root=str(tmp_path)).counts == {"done": 2, "failed": 1}  # trial 1
    assert begun[-1] == [2]


@pytest.mark.slow
def test_a_trial_goes_on_from_its_checkpoint_when_its_process_is_lost(tmp_path: Path, ray_up: None) -> None:
    text = (
        TEXT.replace(", 0.001, 1e+30", "")
        .replace("epochs: 2", "epochs: 30")
        .replace("seed_miou", "train/loss, mode: min")
    )
    text = text.replace("register_as: swept, alias: champion", "enabled: false") + "parallel: 1\n"
    config, base = read_sweep(text, "sweep.yaml", [f"root={tmp_path}"])
    folder = RunFolder(f"{tmp_path}/s", "s-0000")

    def lose() -> None:
        while not folder.exists() or not (state := folder.state()).epoch:
            time.sleep(0.02)
        psutil.Process(state.pid).kill()

    with ThreadPoolExecutor(1) as pool:
        lost = pool.submit(lose)
        result = sweep.run(LoadedSweep(config, base), run_id="s")
        lost.result()
    assert result.counts == {"done": 1}
    state = folder.state()
    assert (state.attempts, state.epoch, state.cause, state.error) == (2, 30, None, None)
    lines = [json.loads(line) for line in folder.read("metrics.jsonl").decode().splitlines()]
    assert [line["epoch"] for line in lines] == list(range(1, 31))


@pytest.mark.slow
def test_a_killed_sweep_ends_with_the_planned_trials(tmp_path: Path, ray_up: None) -> None:
    file, root = tmp_path / "sweep.yaml", tmp_path / "runs"
    file.write_text(TEXT)
    new_record(root)
    call = [sys.executable, "-c", "from services.cli.main import main; main()", "sweep", str(file)]
    environment = without_ray()
    call += [f"root={root}", "--run-id", "s"]
    process = subprocess.Popen(call, env=environment, start_new_session=True, stderr=subprocess.DEVNULL)
    folder = RunFolder(str(root), "s")
    while process.poll() is None:
        if folder.exists() and any(row.ended for row in read_rows(folder)):
            break
        time.sleep(0.2)
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    psutil.wait_procs(family)  # Ray's processes end when they miss the one that started them
    before = {row.number: row for row in read_rows(folder) if row.ended}
    assert before
    assert len(before) < 3
    stranger = sweep.create_run(
        load_any_config(str(file), []).tracking, str(root), "stranger", load_any_config(str(file), []),
        tags={"mlflow.parentRunId": folder.state().tracking_run},
    )  # fmt: skip

    result = resume("s", root=str(root))
    assert result.counts == {"done": 2, "failed": 1}  # a learning rate of 1e30 gives no finite loss
    assert RunFolder(folder.uri, "s-0002").state().attempts == 1  # nor would it at another attempt
    assert [row.number for row in result.trials] == list(range(3))
    assert all("loss = nan" in row.error for row in result.trials if row.state == "failed")
    after = {row.number: row for row in read_rows(folder)}
    assert {number: after[number] for number in before} == before  # nothing was done again
    outcome = children(tracking_uri(load_any_config(str(file), []).tracking, str(root)), folder.state().tracking_run)
    assert set(outcome) == {row.tracking_run for row in after.values()}
    assert stranger not in outcome
    assert sorted(outcome.values()) == ["FAILED", "FINISHED", "FINISHED"]
    best = max((row for row in after.values() if row.state == "done"), key=lambda row: row.objective or 0)
    assert result.best.objective == best.objective
    recipe = load_any_config(result.recipe, [])
    assert isinstance(recipe, TrainConfig)
    assert recipe.optimizer.lr == result.best.values["optimizer.lr"]
    assert result.registered.startswith("models:/swept/")
    assert load_bundle(result.best.model).classes
    repeated = train.run(recipe.model_copy(update={"root": str(root)}), run_id="repeated")
    assert load_bundle(repeated.model).sha256 == load_bundle(result.best.model).sha256
    again = resume("s", root=str(root))
    assert (again.registered, again.best) == (result.registered, result.best)
    registry = Registry(tracking_uri(load_any_config(str(file), []).tracking, str(root)))
    (version,) = registry.versions("swept")
    assert version.version == 1
    assert {score.name: score.value for score in version.scores}["seed_miou"] == result.best.objective
    assert json.loads((root / "s/trials.json").read_text())
    for name in ("trials.csv", "space.png", "space.html"):
        assert (root / "s" / name).stat().st_size > 100


@pytest.mark.slow
def test_a_population_hands_on_weights_and_keeps_each_trial_its_own(tmp_path: Path, ray_up: None) -> None:
    text = TEXT[: TEXT.index("space:")].replace("epochs: 2", "epochs: 4") + POPULATION
    config, base = read_sweep(text, "sweep.yaml", [f"root={tmp_path}"])
    result = sweep.run(LoadedSweep(config, base), run_id="p")
    assert result.counts == {"done": 2}
    again = load_run(f"{tmp_path}/p/sweep.yaml", "sweep", [])
    assert (again.config.recipe, again.base) == ("base.yaml", base)
    assert (tmp_path / "p/config.yaml").read_text() == (tmp_path / "p/sweep.yaml").read_text()
    folders = [RunFolder(str(tmp_path / "p"), f"p-{number:04d}") for number in range(2)]
    better, worse = (folder.state() for folder in folders)
    assert better.taken is None
    assert worse.taken is not None
    assert [step["of_trial"] for step in worse.taken][:1] == [0]
    assert worse.taken[0]["values_before"] == {"optimizer.lr": 1e-6}
    for folder, state in zip(folders, (better, worse), strict=True):
        lines = [json.loads(line) for line in folder.read("metrics.jsonl").decode().splitlines()]
        assert [line["epoch"] for line in lines] == [1, 2, 3, 4]
        assert all(line["seconds"] > 0 for line in lines)
        assert state.metrics is not None
        assert state.values is not None
        assert state.metrics["train/loss"] == lines[-1]["train/loss"]
        assert load_any_config(folder.path("config.yaml"), []).optimizer.lr == state.values["optimizer.lr"]
        (checkpoint,) = (tmp_path / "p" / folder.run_id / "checkpoints").glob("epoch-*")
        saved = torch.load(checkpoint / "training.pt", weights_only=True)["optimizer"]
        assert {group["base_lr"] for group in saved["param_groups"]} == {state.values["optimizer.lr"]}
    epoch = worse.taken[0]["epoch"]  # the trial's own weights had hardly moved until then
    losses = [json.loads(line)["train/loss"] for line in folders[1].read("metrics.jsonl").decode().splitlines()]
    assert losses[epoch] < losses[0] - 0.01


@pytest.mark.slow
def test_a_trial_with_two_workers_has_its_score_in_its_row(tmp_path: Path, ray_up: None) -> None:
    text = TEXT.replace("workers: 1", "workers: 2").replace("epochs: 2", "epochs: 1")
    text = text.replace(", 0.001, 1e+30", "").replace("register_as: swept, alias: champion", "enabled: false")
    config, base = read_sweep(text, "sweep.yaml", [f"root={tmp_path}"])
    result = sweep.run(LoadedSweep(config, base), run_id="w")
    assert result.counts == {"done": 1}
    assert result.best is not None
    assert result.best.objective is not None
    assert 0 <= result.best.objective <= 1
    assert leaks(S3_KEYS, under(session_logs())) == []
    assert load_bundle(result.best.model).classes
