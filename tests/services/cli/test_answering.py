"""Runs that no service drives: `status`, `logs` and `cancel` answer by their files and their process, and only that."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from attn.errors import RunError
from attn.process_identity import process_identity
from attn.run_state import RunState
from jobs.resume import EndedRun
from services.calls import Answer, ContactLostError
from services.discovery import Address

ENDING = """
import json, signal, sys, time
def end(*_):
    state = json.load(open(sys.argv[1])) | {"state": "cancelled"}
    json.dump(state, open(sys.argv[1], "w"))
    sys.exit(3)
signal.signal(signal.SIGTERM, end)
print("ready", flush=True)
time.sleep(60)
"""
"""A process that closes its run at SIGTERM, as a training does."""


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", ENDING, str(tmp_path / "r" / "run.json")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def put(root: Path, name: str, driver: subprocess.Popen[str] | None = None, **fields: Any) -> None:
    (root / name).mkdir(parents=True, exist_ok=True)
    driven: dict[str, Any] = {}
    if driver is not None:
        identity = process_identity(driver.pid)
        driven = {"state": "running", "pid": driver.pid, "process": identity, "host": platform.node()}
    state = {"id": name, "kind": "train", "started": 0.0, **driven, **fields}
    (root / name / "run.json").write_text(json.dumps(state))


def test_a_run_in_another_terminal_is_seen_and_cancelled(
    attn: Any, tmp_path: Path, driver: subprocess.Popen[str]
) -> None:
    put(tmp_path, "r", driver, epoch=1, about={"what": "gain", "epochs": 4})
    here = ("--root", str(tmp_path))
    running = attn("status", "r", *here)
    assert running.status == 0
    assert f"process {driver.pid} of this machine" in running.out
    assert "1/4 epochs" in running.out
    message = attn("logs", "r", *here)
    assert (message.status, "was started in a terminal, which shows what it says" in message.err) == (1, True)
    cancelled = attn("cancel", "r", "--wait", "--json", *here)
    assert (cancelled.status, cancelled.json["state"]) == (0, "cancelled")
    assert driver.wait(timeout=10) == 3
    again = attn("cancel", "r", *here)
    assert (again.status, "run 'r' has ended: cancelled" in again.err) == (1, True)


def test_a_run_that_was_asked_to_end_and_has_not_yet_says_so(
    attn: Any, tmp_path: Path, driver: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "r", driver)
    monkeypatch.setattr("services.cli.answering.end_driver", lambda *_, **__: None)
    asked = attn("cancel", "r", "--root", str(tmp_path))
    assert asked.status == 0, asked.err
    assert "running, cancelling" in asked.out
    assert f"`attn status {tmp_path}/r --wait` waits until it has" in " ".join(asked.out.split())
    assert attn("cancel", "r", "--root", str(tmp_path), "--json").json["cancelling"] is True
    assert "cancelling" not in attn("status", "r", "--root", str(tmp_path)).out


def test_now_kills_it_and_leaves_it_interrupted(attn: Any, tmp_path: Path, driver: subprocess.Popen[str]) -> None:
    put(tmp_path, "r", driver)
    killed = attn("cancel", str(tmp_path / "r"), "--now", "--wait", "--json")
    assert driver.wait(timeout=10) == -9
    assert killed.json["state"] == "interrupted"
    after = attn("status", str(tmp_path / "r"))
    assert (after.status, "attn resume" in after.out) == (5, True), "4 says that a service is away"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"process": "another boot:1"}, "run 'r' is interrupted: its process has ended; `attn resume"),
        ({"process": None}, "run.json does not say which process that is"),
        ({"process": 12345, "born": "x"}, "run.json does not say which process that is"),
        ({"process": None, "born": "now"}, "run.json does not say which process that is"),
        ({"host": "elsewhere"}, "of elsewhere, which this machine cannot reach: `attn cancel r --root"),
        ({"pid": None}, "run 'r' is interrupted"),
        ({"pid": "7; rm"}, "run 'r' is interrupted"),
        ({"pid": -1}, "run 'r' is interrupted"),
        ({"number": 3}, "run 'r' is a trial of a sweep: `attn cancel"),
        ({"state": "done"}, "run 'r' has ended: done"),
    ],
)
def test_no_other_process_is_signalled(
    attn: Any, tmp_path: Path, driver: subprocess.Popen[str], fields: dict[str, Any], words: str
) -> None:
    if fields.get("born") == "now":  # of an early version, and of about the right time
        fields = {**fields, "born": psutil.Process(driver.pid).create_time()}
    put(tmp_path, "r", driver, **fields)
    for now in ((), ("--now",)):
        done = attn("cancel", "r", "--root", str(tmp_path), *now)
        assert (done.status, words in done.err) == (1, True), done.err
    assert driver.poll() is None


def test_a_stage_is_cancelled_by_its_pipeline(attn: Any, tmp_path: Path, driver: subprocess.Popen[str]) -> None:
    put(tmp_path, "r", driver)
    put(tmp_path, "p", driver, kind="pipeline", stages={"train": {"run_id": "r", "state": "running"}})
    done = attn("cancel", "r", "--root", str(tmp_path))
    assert f"is a stage of a pipeline: `attn cancel {tmp_path}/p` ends all of it" in done.err
    assert driver.poll() is None


def test_every_command_says_that_a_run_is_interrupted(attn: Any, tmp_path: Path, driver: subprocess.Popen[str]) -> None:
    """A pipeline that was killed, its stage, and a trial: no command says that one of them runs."""
    for name, fields in {
        "s": {"kind": "train"},
        "p": {"kind": "pipeline", "stages": {"train": {"run_id": "s", "state": "running"}}},
        "w": {"kind": "sweep"},
        "w/w-0000": {"id": "w-0000", "number": 0},
    }.items():
        put(tmp_path, name, driver, **fields)
    here = ("--root", str(tmp_path))
    assert attn("show", "p", "--json", *here).json["parts"][0]["state"] == "running"
    driver.kill()
    driver.wait()
    listed = attn("ls", *here)
    assert ("interrupted" in listed.out, "running" in listed.out) == (True, False)
    page = attn("show", "p", *here)
    assert "running" not in page.out, page.out
    assert attn("show", "p", "--json", *here).json["parts"][0]["state"] == "interrupted"
    assert attn("status", "s", *here).status == 5
    (tmp_path / "x.png").write_bytes(b"")
    predict = ("predict", str(tmp_path / "x.png"), "--out", str(tmp_path / "out"), "--model")
    for command, name, resumed in [
        (predict, "s", "p"),
        (predict, "p", "p"),
        (predict, "w/w-0000", "w"),
        (("segment", "predict"), "s", "p"),
    ]:
        done = attn(*command, str(tmp_path / name))
        assert f"that run is interrupted: `attn resume {tmp_path / resumed}` goes on" in done.err, done.err


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"host": "other"}, "driven by process 7 of other"),
        ({"host": None}, "driven by process 7 of a machine that run.json does not name"),
        ({"host": None, "pid": None}, "driven by a process of a machine that run.json does not name"),
    ],
)
def test_a_run_of_another_machine_is_not_waited_for(
    attn: Any, tmp_path: Path, fields: dict[str, Any], words: str
) -> None:
    put(tmp_path, "r", **{"state": "running", "pid": 7, "process": "boot:1", **fields})
    waited = attn("status", "r", "--wait", "--root", str(tmp_path))
    assert (waited.status, words in waited.err, "--wait might never end" in waited.err) == (1, True, True), waited.err
    assert words.removeprefix("driven by ") in attn("status", "r", "--root", str(tmp_path)).out
    assert words in attn("cancel", "r", "--root", str(tmp_path)).err


def test_a_trial_that_waits_for_its_turn_has_not_ended(
    attn: Any, tmp_path: Path, driver: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "s", driver, kind="sweep")
    put(tmp_path / "s", "s-0001", state="waiting", number=1)
    seconds: list[float] = []

    def sleep(pause: float) -> None:
        seconds.append(pause)
        if len(seconds) == 3:
            put(tmp_path / "s", "s-0001", state="done", number=1)

    monkeypatch.setattr("services.cli.answering.time.sleep", sleep)
    done = attn("status", str(tmp_path / "s" / "s-0001"), "--wait", "--json")
    assert (done.status, done.json["state"], len(seconds)) == (0, "done", 3)
    put(tmp_path / "s", "s-0002", state="waiting", number=2)
    put(tmp_path, "s", kind="sweep", state="failed")
    ended = attn("status", str(tmp_path / "s" / "s-0002"), "--wait")
    assert (ended.status, f"`attn resume s --root {tmp_path}` goes on" in ended.out) == (5, True), ended.out


@pytest.mark.parametrize(("state", "status"), [("done", 0), ("failed", 1), ("cancelled", 3)])
def test_the_exit_status_is_the_runs(attn: Any, tmp_path: Path, state: str, status: int) -> None:
    put(tmp_path, "r", state=state, metrics={"val/mean_ap": 0.5}, error="why" if state == "failed" else None)
    done = attn("status", "r", "--root", str(tmp_path))
    assert done.status == status
    assert "val/mean_ap 50.0 %" in done.out
    assert ("why" in done.out) == (state == "failed")


def test_the_log_of_a_job_outlives_its_service(attn: Any, tmp_path: Path) -> None:
    put(tmp_path, "r", state="done")
    (tmp_path / "r" / "job.log").write_text("one\ntwo\n")
    assert attn("logs", "r", "-f", "--root", str(tmp_path)).out == "one\ntwo\n"
    assert attn("logs", "r", "--offset", "4", "--root", str(tmp_path), "--json").json["offset"] == 8


@pytest.mark.parametrize("command", ["status", "logs", "cancel"])
def test_a_run_that_is_not_there(attn: Any, tmp_path: Path, command: str) -> None:
    put(tmp_path, "first", state="done")
    done = attn(command, "fist", "--root", str(tmp_path))
    assert done.status == 1
    for words in ("no run 'fist' under", "did you mean first?", "no service runs for", "attn serve"):
        assert words in done.err, done.err


def problem(status: int, detail: str) -> Answer:
    return Answer(status, {}, json.dumps({"detail": detail, "code": "x"}).encode())


def job(state: str) -> Answer:
    return Answer(200, {}, json.dumps({"id": "r", "state": state, "started": 100.0}).encode())


@pytest.fixture
def resumed_here(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the runs that were continued on this machine, which here does nothing else."""
    names: list[str] = []

    def resume(run: str, *, root: str, address: str | None) -> EndedRun:
        names.append(run)
        return EndedRun(run_id=run, folder=f"{root}/{run}", state=RunState(id=run))

    monkeypatch.setattr("jobs.resume.resume", resume)
    return names


@pytest.mark.parametrize(
    ("answer", "options", "status", "words"),
    [
        (problem(401, "the token is wrong"), (), 1, "set ATTN_SERVICE_TOKEN"),
        (RunError("the service belongs to user 7"), (), 1, "belongs to user 7"),
        (ContactLostError("timed out"), (), 4, "timed out; if that service has ended, remove"),
        (Answer(200, {}, b"<html>"), (), 1, "is not a jobs service"),
        (job("failed"), ("--address", "auto"), 2, "'r' is a job of the service at"),
        (job("failed"), (), 0, ""),
        (job("done"), (), None, ""),
        (job("done"), ("--wait",), None, "--wait changes nothing"),
        (problem(404, "no job 'r'"), (), None, ""),
    ],
)
def test_a_run_is_continued_here_only_if_no_service_has_it(
    attn: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resumed_here: list[str],
    answer: Answer | Exception, options: tuple[str, ...], status: int | None, words: str,
) -> None:  # fmt: skip
    """A status of None: it was continued here."""
    asked: list[str] = []

    def call(url: str, method: str, path: str, **others: Any) -> Answer:
        asked.append(f"{method} {path}")
        if isinstance(answer, Exception):
            raise answer
        return answer

    for module in ("services.cli.answering", "services.client"):
        monkeypatch.setattr(f"{module}.find_service", lambda root: Address("http://127.0.0.1:1"))
    monkeypatch.setattr("services.client.call", call)
    put(tmp_path, "r", state="failed")
    done = attn("resume", "r", "--root", str(tmp_path), *options)
    assert (done.status, words in done.err) == (status or 0, True), done.err
    assert "Traceback" not in done.err
    assert resumed_here == (["r"] if status is None else [])
    assert asked == ["GET /jobs/r", *(["POST /jobs/r/resume"] if status == 0 else [])]


def test_a_run_whose_service_has_ended_is_continued_here(
    attn: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resumed_here: list[str]
) -> None:
    def ended(root: str) -> None:
        raise ContactLostError("the service has ended")

    monkeypatch.setattr("services.cli.answering.find_service", ended)
    put(tmp_path, "r", state="failed")
    assert attn("resume", "r", "--root", str(tmp_path)).status == 0
    assert resumed_here == ["r"]
    assert "the service has ended" in attn("resume", "absent", "--root", str(tmp_path)).err


@pytest.mark.parametrize(
    ("run", "of_job", "shown", "status"),
    [
        ({"state": "done", "ended": 200.0}, "lost", "done", 0),
        ({"state": "cancelled", "ended": 200.0}, "unreachable", "cancelled", 3),
        ({"state": "failed", "ended": 50.0}, "lost", "lost", 5),
        ({"state": "done"}, "lost", "lost", 5),
        ({"state": "running", "host": "other"}, "unreachable", "unreachable", 4),
        ({"state": "failed", "ended": 200.0}, "queued", "queued", 0),
        ({"state": "failed", "ended": 200.0}, "running", "running", 0),
        ({"state": "running", "host": platform.node(), "pid": 7, "process": "boot:1"}, "failed", "failed", 1),
    ],
)
def test_a_run_that_has_ended_since_is_not_lost(
    attn: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run: dict[str, Any],
    of_job: str,
    shown: str,
    status: int,
) -> None:
    def call(url: str, method: str, path: str, **others: Any) -> Answer:
        one = job(of_job)
        return one if path == "/jobs/r" else Answer(200, {}, b'{"jobs": [%s]}' % one.body)

    for module in ("services.cli.answering", "services.client", "services.discovery"):
        monkeypatch.setattr(f"{module}.find_service", lambda root: Address("http://127.0.0.1:1"))
    monkeypatch.setattr("services.client.call", call)
    put(tmp_path, "r", **run)
    asked = attn("status", "r", "--root", str(tmp_path), "--json")
    assert (asked.status, asked.json["state"]) == (status, shown)
    (listed,) = attn("ls", "--root", str(tmp_path), "--state", shown, "--json").json["runs"]
    assert (listed["state"], listed["job"]) == (shown, of_job)
