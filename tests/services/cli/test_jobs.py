"""The command line over a service that is a process of its own."""

from __future__ import annotations

import io
import re
import time
from pathlib import Path
from typing import Any

import pytest

from tests.services.server import Server


@pytest.fixture
def server(tmp_path: Path) -> Any:
    server = Server(tmp_path / "runs")
    yield server
    if server.process.poll() is None:
        server.kill()


def test_submit_status_logs_cancel(attn: Any, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    here = ("--root", str(server.root))
    done = attn("submit", "evaluate", "absent", "--run-id", "a", "-y", "--wait", "--json", *here)
    assert (done.status, done.json["state"]) == (1, "failed")
    assert attn("submit", "evaluate", "absent", "--run-id", "a", "-y", "--json", *here).json["attempt"] == 1
    assert attn("status", "a", *here).status == 1
    assert attn("status", "b", *here).status == 1
    assert re.search(r"started +\d{4}-\d\d-\d\d \d\d:\d\d", attn("status", "a", *here).out)
    for answer, ends, said in (("", 2, "add -y"), ("n\n", 3, "nothing was submitted"), ("y\n", 0, "jobs before it")):
        monkeypatch.setattr("sys.stdin", io.StringIO(answer))
        asked = attn("submit", "evaluate", "absent", "--run-id", "a", *here)
        assert (asked.status, said in asked.err, "Traceback" in asked.err) == (ends, True, False), asked
        assert re.search(r"^id +a$", asked.err, re.MULTILINE), "the plan is shown, whoever answers"
    assert attn("cancel", "a", *here).status == 1
    again = attn("resume", "a", "--wait", "--json", *here)
    assert (again.status, again.json["attempt"]) == (1, 2), "the service that has the job resumes it"
    (server.root / "local").mkdir()
    (server.root / "local" / "run.json").write_text('{"id": "local", "kind": "train", "state": "done"}')
    assert attn("status", "local", "--json", *here).json["state"] == "done", "a run that is no job of the service"
    assert [run["id"] for run in attn("ls", "--json", *here).json["runs"]] == ["a", "local"]
    listed = attn("ls", "--service", server.url, "--json", *here).json["runs"]
    assert [job["id"] for job in listed] == ["a"]
    assert attn("ls", *here).status == 0
    assert attn("submit", "train", "no_such_recipe", "-y", *here).status == 2
    assert attn("submit", "train", "scenes_gain", "nothing.at=all", "-y", *here).status == 2
    file = server.root / "tiny.yaml"
    file.write_text("recipe: scenes_gain\ntraining:\n  epochs: 2\ntrainig: {}\n")
    refused = attn("submit", "train", str(file), "-y", *here)
    assert (refused.status, f"{file}:4: trainig is not" in refused.err, "config:" in refused.err) == (2, True, False)
    file.write_text("recipe: scenes_gain\n")
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    planned = attn("submit", "train", str(file), *here).err
    assert re.search(rf"^target +{re.escape(str(file))}$", planned, re.MULTILINE), planned
    unknown = attn("logs", "unknown", "--service", server.url, *here).err
    assert "no job 'unknown'; `attn ls` lists them" in unknown
    server.kill()
    lost = attn("status", "a", "--json", *here)
    assert (lost.status, lost.json["error"]["code"]) == (4, "lost_contact")
    assert attn("status", "local", *here).status == 0


def test_without_a_service_it_is_told_how_to_start_one(attn: Any, tmp_path: Path) -> None:
    done = attn("status", "a", "--root", str(tmp_path))
    assert done.status == 1
    assert "attn serve" in done.err


class _Service:
    def post(self, path: str, body: object) -> dict[str, Any]:
        return {}


@pytest.mark.parametrize("given", [None, b"", b"\xff\n", "unreadable"], ids=repr)
def test_without_a_readable_answer_nothing_is_submitted(
    attn: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, given: bytes | str | None
) -> None:
    monkeypatch.setattr("services.client.connect", lambda root, given: _Service())
    written = tmp_path / "written"
    stdin = written.open("w") if isinstance(given, str) else given and io.TextIOWrapper(io.BytesIO(given), "utf-8")
    monkeypatch.setattr("sys.stdin", io.StringIO("") if stdin == b"" else stdin)
    done = attn("submit", "train", "gain")
    *plan, error = done.err.splitlines()
    assert (done.status, error) == (
        2, "error: nothing was submitted: standard input has no answer; add -y to submit without asking",
    )  # fmt: skip
    assert [line.split() for line in plan if line.startswith("target")] == [["target", "gain"]]


@pytest.mark.parametrize(
    ("words", "notice"),
    [
        (
            ("train", "scenes_gain", "training.epochs=3"),
            "notice: method.warmup_epochs=9 covers all of training.epochs=3",
        ),
        (("pipeline", "gain_segment_scenes", "train.training.epochs=1"), "notice: train.method.warmup_epochs="),
        (("sweep", "sweep_scenes_gain"), None),
        (("train", "scenes_gain"), None),
        (("train", "scenes_gain", "training.epochs=3", "no.such=field"), None),
        (("evaluate", "run"), None),
    ],
)
def test_submit_prints_the_notices_of_a_run(
    attn: Any, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], notice: str | None
) -> None:
    """Those that `attn train` and its siblings print before a run; before the question, which ends this one."""
    monkeypatch.setattr("services.client.connect", lambda root, given: _Service())
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    done = attn("submit", *words)
    assert (done.status, "nothing was submitted" in done.err) == (3, True), done.err
    notices = [line for line in done.err.splitlines() if line.startswith("notice: ")]
    assert len(notices) == (notice is not None), done.err
    assert all(line.startswith(str(notice)) for line in notices)


def test_submit_says_what_a_slow_service_is_at_and_prints_notices_without_a_question(
    attn: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = {"/plan": 0.0, "/jobs": 0.0}

    def post(_: _Service, path: str, body: dict[str, Any]) -> dict[str, Any]:
        time.sleep(waits[path])
        return {"id": body["id"], "state": "queued"}

    monkeypatch.setattr(_Service, "post", post)
    monkeypatch.setattr(_Service, "post_job", post, raising=False)
    monkeypatch.setattr("services.client.connect", lambda root, given: _Service())
    monkeypatch.setattr("services.cli.jobs.PATIENCE_SECONDS", 0.5)
    words = ("train", "scenes_gain", "training.epochs=3", "-y")
    for path, said in ((None, ""), ("/plan", "checking scenes_gain ..."), ("/jobs", "submitting scenes_gain ...")):
        waits |= {name: 1.0 if name == path else 0.0 for name in waits}
        done = attn("submit", *words)
        lines = done.err.splitlines()
        assert (done.status, [line for line in lines if line.endswith("...")]) == (0, [said] if said else []), done.err
        assert "notice: method.warmup_epochs=9 covers all of training.epochs=3" in done.err
        assert any(line.split() == ["target", "scenes_gain"] for line in lines), (
            "the plan is shown, if nothing is asked"
        )
