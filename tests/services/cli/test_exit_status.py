"""How commands end: statuses, messages, JSON, tracebacks only where asked for, silence when nobody listens."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from attn.errors import ConfigError, DataError, Fault, RunError
from attn.runs.result import RunResult
from jobs.train import TrainResult

RESULT = TrainResult(
    run_id="r",
    folder="runs/r",
    model="runs/r/model",
    metrics={"val/mean_ap": 0.512345, "n": 3.0},
    store=None,
    store_version=None,
    tracking_run=None,
    seconds=1.5,
)


@pytest.fixture
def outcome_of_resume(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Replaces what `attn resume` does by a result or an exception."""

    def replace(outcome: Any) -> None:
        def resume(run: str, *, root: str, address: str | None) -> RunResult:
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome

        monkeypatch.setattr("jobs.resume.resume", resume)

    return replace


def test_a_result_ends_with_0_and_one_json_object(attn: Any, outcome_of_resume: Any) -> None:
    outcome_of_resume(RESULT)
    done = attn("resume", "r", "--json")
    assert (done.status, done.json) == (
        0,
        {
            "run_id": "r",
            "folder": "runs/r",
            "model": "runs/r/model",
            "metrics": {"val/mean_ap": 0.512345, "n": 3.0},
            "store": None,
            "store_version": None,
            "tracking_run": None,
            "seconds": 1.5,
        },
    )


def test_a_result_is_shown_as_a_table(attn: Any, outcome_of_resume: Any) -> None:
    outcome_of_resume(RESULT)
    lines = attn("resume", "r").out.splitlines()
    assert [line.split() for line in lines if line] == [
        ["score,", "%"],
        ["val/mean_ap", "51.2"],
        ["loss"],
        ["n", "3.0000"],
        ["run", "r"],
        ["time", "1.5", "s"],
        ["model", "runs/r/model"],
        ["more", "attn", "show", "r"],
    ]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RunError("no such run"), 1),
        (DataError("a.jpg is broken"), 1),
        (ConfigError([Fault("r.yaml:3", "x is not a known field", "did you mean y?")]), 2),
        (KeyboardInterrupt(), 3),
        (ZeroDivisionError("by zero"), 1),
    ],
)
def test_an_error_ends_with_its_status(attn: Any, outcome_of_resume: Any, error: Any, status: int) -> None:
    outcome_of_resume(error)
    done = attn("resume", "r")
    assert done.status == status
    assert done.err.count("error: ") == (status != 3), "to cancel is no error"
    assert str(error) in done.err
    assert done.out == ""


def test_a_users_mistake_shows_a_traceback_only_with_debug(attn: Any, outcome_of_resume: Any) -> None:
    outcome_of_resume(RunError("no such run"))
    assert "Traceback" not in attn("resume", "r").err
    assert "Traceback" in attn("resume", "r", "--debug").err


def test_a_fault_of_the_program_always_shows_its_traceback(attn: Any, outcome_of_resume: Any) -> None:
    outcome_of_resume(ZeroDivisionError("by zero"))
    done = attn("resume", "r")
    assert "Traceback" in done.err
    assert "This is a bug in attn" in done.err


def test_with_json_an_error_is_one_object_too(attn: Any, outcome_of_resume: Any) -> None:
    outcome_of_resume(ConfigError([Fault("r.yaml:3", "x is not a known field", "did you mean y?")]))
    error = attn("resume", "r", "--json").json["error"]
    assert error["code"] == "config"
    assert error["faults"] == [{"where": "r.yaml:3", "message": "x is not a known field", "hint": "did you mean y?"}]


def test_brackets_in_a_message_are_not_markup(attn: Any, outcome_of_resume: Any) -> None:
    outcome_of_resume(RunError("expected [bold]two[/bold] values [1, 2]"))
    assert "expected [bold]two[/bold] values [1, 2]" in attn("resume", "r").err


def test_wrong_usage_ends_with_2(attn: Any) -> None:
    assert attn("trian").status == 2
    assert attn("train").status == 2


def test_the_overrides_and_options_reach_the_job(attn: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def load(target: str, overrides: list[str]) -> str:
        seen.update(target=target, overrides=overrides)
        return "what load gave"

    def run(job: str, *, run_id: str | None, **others: Any) -> RunResult:
        seen.update(job=job, run_id=run_id)
        return RunResult(run_id="scored", folder="runs/scored")

    monkeypatch.setattr("jobs.evaluate.load", load)
    monkeypatch.setattr("jobs.evaluate.run", run)
    done = attn("evaluate", "--json", "runs/r/model", "data.split=val", "evaluation.crf=null", "--run-id", "scored")
    assert (done.status, done.json) == (0, {"run_id": "scored", "folder": "runs/scored"})
    assert seen == {
        "target": "runs/r/model", "overrides": ["data.split=val", "evaluation.crf=null"],
        "job": "what load gave", "run_id": "scored",
    }  # fmt: skip


def test_a_closed_pipe_is_quiet(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(f'{{"id": "{name}"}}')
    reader, writer = os.pipe()
    os.close(reader)
    call = [sys.executable, "-c", "from services.cli.main import main; main()", "ls", "--root", str(tmp_path)]
    done = subprocess.run(call, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    said = [line for line in done.stderr.splitlines() if line != "reading the runs ..."]  # after two seconds
    assert (done.returncode, said) == (0, [])
