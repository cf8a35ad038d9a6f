"""A new kind of run is one file and one line: everything that is for all kinds then finds it."""

from __future__ import annotations

import inspect
import json
import pkgutil
import signal
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from attn.config.base import Config
from attn.config.resolve import dump_config
from attn.files.roots import ROOTS_VARIABLE
from attn.runs.result import ComposedResult
from attn.runs.sweep.load import read_sweep
from attn.runs.table import KINDS, Job, RunKind, TargetJob, file_kinds, job_of, service_kinds, target_job_of
from attn.runs.texts import LOCAL_TEXTS
from docs.commands.config_tree import PAGES, Section
from jobs import compare, cues, evaluate, maps, pipeline, segment, segment_predict, sweep, train
from jobs.resume import resume
from jobs.runs.run_folder import RunFolder
from jobs.sweep import _Sweep
from jobs.sweeps.plan import make_plan
from jobs.sweeps.results import read_rows
from services import driver
from services.cli.run_commands import add_kinds
from services.permissions import Permissions
from services.plan import plan_of
from services.submission import Submission
from tests.jobs.test_trial import Alone
from tests.services.cli.conftest import attn as attn  # the command line as a function

TEXT = "kind: toy\nheight: 5\ntracking: {enabled: false}\n"


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        KINDS, "toy", RunKind("tests.jobs.toy", "Count to a number.", config="tests.jobs.toy:ToyConfig")
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "toy.yaml"
    path.write_text(TEXT)
    return path


def test_the_command_line_has_its_command(file: Path, tmp_path: Path, attn: Any) -> None:
    app = typer.Typer()
    add_kinds(app)
    assert "Count to a number." in CliRunner().invoke(app, ["--help"]).output
    arguments = ["toy", str(file), f"root={tmp_path}/runs", "height=7", "--run-id", "t", "--json"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert json.loads(done.output.splitlines()[-1])["scores"] == {"height": 7.0}
    (listed,) = attn("ls", "--root", f"{tmp_path}/runs", "--json").json["runs"]
    assert (listed["id"], listed["kind"], listed["state"]) == ("t", "toy", "done")
    assert RunFolder(f"{tmp_path}/runs", "t").state().outputs == {"numbers": [1, 2, 3, 4, 5, 6, 7]}
    assert attn("validate", str(file), "--json").json["config"]["height"] == 5
    assert attn("plan", str(file), "--json").json["title"] == "toy"
    result = attn("repro", "t", "--root", f"{tmp_path}/runs", "--to", f"{tmp_path}/again", "--json").json
    assert result["command"] == ["attn", "toy", "config.yaml"]
    done_before = resume("t", root=f"{tmp_path}/runs")
    assert isinstance(done_before, ComposedResult)
    assert done_before.scores == {"height": 7.0}
    assert set(file_kinds()) < set(KINDS)
    wrong = attn("train", str(file))
    assert (wrong.status, "use `attn toy " in wrong.err) == (2, True)


def test_the_service_takes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ROOTS_VARIABLE, "")  # the driver sets it for its own process; it is undone after the test
    monkeypatch.delenv(ROOTS_VARIABLE)
    before = signal.getsignal(signal.SIGTERM)
    submission = Submission.model_validate({"id": "s", "kind": "toy", "config": TEXT})
    assert plan_of(submission, Permissions(str(tmp_path), ()))["title"] == "toy"
    order = tmp_path / "order.json"
    messages = {"submission": submission.model_dump(mode="json"), "root": f"{tmp_path}/runs #1", "data_roots": []}
    order.write_text(json.dumps(messages))
    assert driver.main(str(order)) == 0
    signal.signal(signal.SIGTERM, before)
    assert RunFolder(f"{tmp_path}/runs #1", "s").state().metrics == {"height": 5.0}


def test_a_sweep_searches_it(file: Path, tmp_path: Path) -> None:
    text = f"kind: sweep\nrecipe: {file}\nspace: {{height: [2, 4]}}\nsearch: {{name: grid}}\n"
    text += "scheduler: {name: fifo}\nobjective: {metric: height}\ntracking: {enabled: false}\n"
    config, base = read_sweep(text, "sweep.yaml", [f'root="{tmp_path}/a: b"'], texts=LOCAL_TEXTS)
    folder = RunFolder(f"{tmp_path}/a: b", "s")
    folder.write("sweep.yaml", dump_config(config))
    folder.update(kind="sweep", state="running")
    sweep = _Sweep(config, base, folder)  # pyright: ignore[reportPrivateUsage]
    sweep.plan = make_plan(config, base, cores=1, gpus=0)
    trial = Alone(sweep.begin(0, sweep.suggestions.point(0)))
    assert trial.step()["done"]
    trial.cleanup()
    (row,) = read_rows(folder)
    assert (row.state, row.values, row.objective) == ("done", {"height": 2}, 2.0)


def test_the_service_runs_a_kind_without_files_only_if_its_configs_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A submission of such a kind is checked against these configs, and its module's `load` makes its job."""
    monkeypatch.setitem(KINDS, "bare", RunKind("tests.jobs.toy", "Works on a model."))
    assert "bare" not in service_kinds()
    served = set(service_kinds()) - set(file_kinds())
    assert {"evaluate", "maps"} <= served
    for kind in served:
        assert all(issubclass(pkgutil.resolve_name(name), Config) for name in KINDS[kind].target_configs)
        assert hasattr(target_job_of(kind), "load")


FILE_JOBS: list[Job] = [train, segment, pipeline, sweep]
TARGET_JOBS: list[TargetJob] = [evaluate, maps, segment_predict, cues, compare]
"""The type checker compares each module with its protocol."""


def test_every_module_of_the_table_follows_its_protocol() -> None:
    assert [job_of(kind) for kind in file_kinds() if kind != "toy"] == FILE_JOBS
    assert [target_job_of(kind) for kind in KINDS if kind not in file_kinds()] == TARGET_JOBS
    for module in (*FILE_JOBS, *TARGET_JOBS):
        _, *options = inspect.signature(module.run).parameters.values()
        assert {"run_id", "address"} <= {option.name for option in options}
        assert all(option.kind is option.KEYWORD_ONLY and option.default is not option.empty for option in options)


def test_the_reference_of_fields_has_a_page_for_the_config_of_a_kind() -> None:
    class KindConfig(Config):
        __module__ = "jobs.new_kind"

    assert Section(KindConfig, "new_kind", "").page in PAGES
