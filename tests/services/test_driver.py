"""A job's driver hands over what was submitted, under the service's own checks; nothing is trained here."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from attn.config.base import Config
from attn.config.resolve import dump_config
from attn.errors import RunError
from attn.files.roots import ROOTS_VARIABLE
from attn.runs.config_reader import read_config
from attn.runs.pipeline import read_pipeline
from attn.runs.recipes import recipe_text
from attn.runs.result import RunResult
from attn.runs.started import started
from attn.runs.sweep import SweepConfig
from attn.runs.sweep.load import LoadedSweep, read_sweep, trial_config
from attn.runs.sweep.space import Point
from jobs.runs.lifecycle import LiveRun
from jobs.sweeps.plan import make_plan
from jobs.training.hooks import TrainingRun
from services import driver

SWEEP = """
kind: sweep
recipe: scenes_gain
set: {data.count: 8, data.size: 32, input.size: 32, cluster.workers: 1}
space: {method.mask_threshold: [0.2, 0.35]}
search: {name: grid}
objective: {metric: seed_miou}
"""


@pytest.fixture(autouse=True)
def own_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put back what a driver changes of its process: what it may read, and what SIGTERM does."""
    monkeypatch.setenv(ROOTS_VARIABLE, "")
    monkeypatch.delenv(ROOTS_VARIABLE)
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def order(folder: Path, **submission: object) -> str:
    file = folder / "order.json"
    messages = {"submission": {"id": "s", **submission}, "root": str(folder / "runs"), "data_roots": []}
    file.write_text(json.dumps(messages))
    return str(file)


def test_a_sweep_looks_at_its_trials_before_it_gives_them_a_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    seen: list[Any] = []

    def run(loaded: LoadedSweep, **options: object) -> RunResult:
        config, base = loaded
        seen.extend([make_plan(config, base), trial_config(base, {}, f"root={config.root}/s")])
        return RunResult(run_id="s", folder="")

    monkeypatch.setattr("jobs.sweep.run", run)
    status = driver.main(order(tmp_path, kind="sweep", config=SWEEP))
    printed = capfd.readouterr()
    assert (status, printed.err) == (0, "")
    assert f"`attn show {tmp_path}/runs/s`" in printed.out, "with its root, which commands need"
    assert isinstance(seen[1], Config)
    assert vars(seen[1])["root"] == f"{tmp_path}/runs/s"


TOGETHER: Point = {"data.source": "folder", "data.root": "/elsewhere", "optimizer.lr": 0.1}


@pytest.mark.parametrize(
    ("point", "resumed"),
    [
        ({"root": "/elsewhere/runs"}, False),
        ({"root": "s3://elsewhere/runs"}, False),
        ({"root": "runs/../../x"}, False),
        (TOGETHER, False),
        (TOGETHER, True),
    ],
)
def test_no_trial_runs_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], point: Point, resumed: bool
) -> None:
    """Whatever was looked at when the sweep was submitted: not every point of it was."""
    if resumed:
        leave_run(tmp_path / "runs", "sweep", [])

    def begin(loaded: LoadedSweep, **options: object) -> NoReturn:
        trial_config(loaded.base, point)
        pytest.fail("the trial was taken")

    def go_on(config: SweepConfig, base: str, *more: object) -> NoReturn:
        begin(LoadedSweep(config, base))

    monkeypatch.setattr("jobs.sweep._run" if resumed else "jobs.sweep.run", go_on if resumed else begin)
    assert driver.main(order(tmp_path, kind="sweep", config=SWEEP)) == 2
    assert re.search("is not the service's root|is outside", capfd.readouterr().err)


RECIPES = {"train": "scenes_oaa", "pipeline": "gain_segment_scenes", "sweep": "sweep_scenes_gain"}


def leave_run(root: Path, kind: str, overrides: list[str]) -> None:
    """A run that was interrupted, as a process without the service's limits leaves it."""
    text, name = recipe_text(RECIPES[kind])
    files: dict[str, str] = {}
    if kind == "sweep":
        config, base = read_sweep(text, name, overrides)
        files = {"sweep.yaml": dump_config(config), "base.yaml": base}
    else:
        files["config.yaml"] = dump_config(
            (read_pipeline if kind == "pipeline" else read_config)(text, name, overrides)
        )
    (root / "s").mkdir(parents=True)
    for file, content in {**files, "run.json": json.dumps({"id": "s", "kind": kind, "state": "cancelled"})}.items():
        (root / "s" / file).write_text(content)


@pytest.mark.parametrize(
    ("kind", "override"),
    [
        ("train", "tracking.uri=http://elsewhere.example"),
        ("train", "tracking.uri=sqlite:////elsewhere/mlflow.db"),
        ("train", "store.location=/elsewhere"),
        ("train", "model.weights=/elsewhere/w.pt"),
        ("train", "data={source: folder, root: /elsewhere}"),
        ("pipeline", "train.data={source: folder, root: /elsewhere}"),
        ("pipeline", "evaluation.cues=/elsewhere"),
        ("sweep", "set.model.weights=/elsewhere/w.pt"),
        ("sweep", "set.tracking.uri=http://elsewhere.example"),
        ("sweep", "tracking.uri=http://elsewhere.example"),
    ],
)
def test_a_run_that_goes_on_reaches_no_further_than_one_that_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], kind: str, override: str
) -> None:
    monkeypatch.setattr("jobs.train.ray_session", lambda *given, **named: pytest.fail("it runs"))
    leave_run(tmp_path / "runs", kind, [override])
    status = driver.main(order(tmp_path, kind=kind, target=RECIPES[kind]))
    error = capfd.readouterr().err
    assert (status, error.count("error: ")) == (2, 1), error
    assert any(word in error for word in ("is outside", "is not the service's own")), error


def test_a_run_that_was_moved_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its config says where it was; it is written where it is."""
    seen: list[tuple[str, str]] = []

    def train(training: TrainingRun[Any], live: LiveRun, address: str | None) -> None:
        seen.append((training.config.root, live.folder.uri))

    monkeypatch.setattr("jobs.train._train", train)
    leave_run(tmp_path / "runs", "train", ["root=/former/runs"])
    driver.main(order(tmp_path, kind="train", target="scenes_oaa"))
    assert seen == [(f"{tmp_path}/runs", f"{tmp_path}/runs/s")]


@pytest.mark.parametrize(("kind", "expected"), [("train", "gain"), ("evaluate", None), ("maps", None)])
def test_what_works_on_a_run_called_like_a_recipe_has_no_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, expected: str | None
) -> None:
    seen: list[str | None] = []

    def begin(*_: object) -> NoReturn:
        seen.append(None if (one := started()) is None else one.recipe.name)
        raise RunError("enough")

    monkeypatch.setattr(driver, "_begin", begin)
    assert driver.main(order(tmp_path, kind=kind, target="gain")) == 1
    assert seen == [expected]
