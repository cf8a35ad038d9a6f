"""Jobs through a service that runs as a process of its own; jobs that fail early stand for those that train."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
import sqlalchemy as sa

from services.table import Job, JobTable
from tests.leaks import leaks, under
from tests.services.server import Server

Serve = Callable[..., Server]
ABSENT: dict[str, Any] = {"kind": "evaluate", "target": "absent"}
TOKENS = {role: f"{role}-token-of-the-test" for role in ("read", "submit", "admin")}
HIDDEN = {name: f"made-up-for-{name}" for name in ("MLFLOW_TRACKING_PASSWORD", "AWS_SECRET_ACCESS_KEY")}
"""Secrets in the service's environment, which its jobs inherit."""


def test_a_job_is_taken_once_runs_and_keeps_its_log(api: Server) -> None:
    asked = {"id": "first", **ABSENT}
    assert api.call("POST", "/jobs", asked)[0] == 201
    assert api.call("POST", "/jobs", asked)[0] == 200
    status, problem, _ = api.call("POST", "/jobs", {**asked, "priority": 1})
    assert (status, problem["status"]) == (409, 409)
    assert len(api.call("GET", "/jobs")[1]["jobs"]) == 1
    ended = api.until("first", "failed", "done")
    assert ended["state"] == "failed"
    assert "absent" in ended["error"]
    _, whole, headers = api.call("GET", "/jobs/first/log")
    assert b"absent" in whole
    assert (headers["Attn-Next-Offset"], headers["Attn-Ended"]) == (str(len(whole)), "true")
    assert api.call("GET", "/jobs/first/log?offset=7")[1] == whole[7:]
    assert api.call("GET", "/jobs/first/log?follow=true&offset=5")[1] == whole[5:]
    assert api.call("POST", "/jobs/first/cancel")[0] == 409
    assert b'attn_jobs{state="failed"} 1' in api.call("GET", "/metrics")[1]


def test_a_table_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'jobs.db'}"
    table = JobTable(url)
    table.add(Job(id="old", kind="maps", target="a", request="r"))
    with table.engine.begin() as connection:
        for column in ("place", "process", "started_clock"):
            connection.execute(sa.text(f"ALTER TABLE attn_jobs DROP COLUMN {column}"))
        connection.execute(sa.text("DROP INDEX attn_jobs_newest"))
    table.close()
    table = JobTable(url)
    results = [(job.id, job.job_server, job.process, job.started_clock) for job in table.list(["queued"])]
    assert results == [("old", None, None, None)]
    table.close()


def test_a_waiting_job_says_why_starts_by_priority_and_can_be_cancelled(api: Server) -> None:
    api.call("POST", "/jobs", {"id": "a", **ABSENT})
    api.until("a", "running")
    driver = _driver(api, "a")
    os.kill(driver.pid, signal.SIGSTOP)  # it runs for as long as this test wants
    for name, priority in (("b", 0), ("c", 5)):
        api.call("POST", "/jobs", {"id": name, **ABSENT, "priority": priority})
    waiting = api.call("GET", "/jobs/b")[1]
    assert waiting["state"] == "queued"
    assert "c" in waiting["waiting"] or "before it" in waiting["waiting"]
    assert api.call("POST", "/jobs/b/cancel")[1]["state"] == "cancelled"
    os.kill(driver.pid, signal.SIGCONT)
    ended = [api.until(name, "failed") for name in ("a", "c")]
    assert ended[1]["started"] is not None
    assert api.call("GET", "/jobs/b")[1]["started"] is None


def test_a_killed_service_finds_its_job_and_a_killed_driver_is_told(serve: Serve) -> None:
    server = serve()
    # What looks at submissions is there before the first, and imports as fast as anything else of this machine.
    (warm,) = _forked(server)
    assert warm.nice() == psutil.Process().nice()
    server.call("POST", "/jobs", {"id": "long", **ABSENT})
    server.until("long", "running")
    assert _forked(server) == [warm]
    driver = _driver(server, "long")
    os.kill(driver.pid, signal.SIGSTOP)  # neither done nor gone, for as long as this test wants
    if sys.platform == "linux":  # answers give way to what is computed, and jobs do not
        assert (psutil.Process(server.process.pid).nice(), driver.nice()) == (19, psutil.Process().nice())
        groups = [Path(f"/proc/{pid}/autogroup") for pid in (server.process.pid, driver.pid)]
        messages = [group.read_text().split()[-2:] for group in groups if group.exists()]
        assert messages in ([["nice", "10"], ["nice", "0"]], []), "or a kernel without sessions' groups"
    server.kill()
    server.start()
    assert server.call("GET", "/jobs/long")[1]["state"] == "running"
    os.kill(driver.pid, signal.SIGKILL)
    lost = server.until("long", "lost", "failed")
    assert lost["state"] == "lost"
    assert "resume" in lost["error"]
    assert server.call("POST", "/jobs/long/resume")[0] == 202
    ended = server.until("long", "failed")
    assert ended["attempt"] == 2
    server.kill()
    server.start()
    assert server.call("GET", "/jobs/long")[1] == ended


def test_max_duration_ends_a_job(api: Server) -> None:
    api.call("POST", "/jobs", {"id": "long", **ABSENT, "max_duration": 0.1})
    ended = api.until("long", "cancelled", "failed")
    assert ended["state"] == "cancelled"
    assert "max_duration" in ended["error"]


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"kind": "shell"}, 422),
        ({"command": "true"}, 422),
        ({"id": "../out"}, 422),
        ({"target": "../../etc/passwd"}, 422),
        ({"kind": "train", "target": "no_such_recipe"}, 422),
        ({"kind": "train", "target": "scenes_gain", "overrides": ["training.epoch=3"]}, 422),
        ({"kind": "train", "target": "scenes_gain", "overrides": ["root=elsewhere"]}, 422),
        ({"kind": "train", "config": "kind: train\nroot: [", "target": ""}, 422),
        ({"kind": "train", "target": "scenes_oaa", "overrides": ["store.location=elsewhere"]}, 422),
        ({"kind": "train", "target": "scenes_gain", "overrides": ["tracking.uri=http://attacker.example"]}, 422),
        ({"kind": "maps", "overrides": ["output={kind: png, location: elsewhere}"]}, 422),
        ({"address": "ray://attacker.example:1"}, 422),
    ],
)
def test_what_is_wrong_is_a_problem(api: Server, change: dict[str, Any], status: int) -> None:
    answer, problem, headers = api.call("POST", "/jobs", {"id": "x", **ABSENT, **change})
    assert answer == status
    assert headers["content-type"] == "application/problem+json"
    assert problem["detail"]
    assert api.call("GET", "/jobs/x")[0] == 404


def test_a_body_too_large_is_refused_with_and_without_its_length(api: Server) -> None:
    assert api.call("POST", "/jobs", b" " * (12 << 20))[0] == 413
    connection = http.client.HTTPConnection(urlsplit(api.url).netloc, timeout=60)
    shown = {"Content-Type": "application/json", "Authorization": f"Bearer {api.token}"}
    connection.request("POST", "/jobs", iter([b" " * (1 << 20)] * 12), shown)
    assert connection.getresponse().status == 413
    connection.close()


def test_pages_of_other_sites_and_other_names_are_refused(api: Server) -> None:
    assert api.call("POST", "/jobs", {"id": "x", **ABSENT}, Origin="http://attacker.example")[0] == 403
    assert api.call("GET", "/jobs", Host="attacker.example")[0] == 400


def test_the_plan_starts_nothing(api: Server) -> None:
    body = {"id": "planned", "kind": "train", "target": "scenes_gain", "overrides": ["training.epochs=3"]}
    status, plan, _ = api.call("POST", "/plan", body)
    assert (status, plan["epochs"], plan["title"]) == (200, 3, "gain")
    assert api.call("GET", "/jobs/planned")[0] == 404


def test_tokens_have_roles_and_are_told_to_nobody(api: Server) -> None:
    def ask(role: str | None, method: str, path: str, body: Any = None) -> int:
        shown = {"Authorization": "" if role is None else f"Bearer {TOKENS.get(role, role)}"}
        status, answer, _ = api.call(method, path, body, **shown)
        assert not any(token in str(answer) for token in TOKENS.values())
        return status

    job = {"id": "roles", **ABSENT}
    assert ask(None, "GET", "/healthz") == 200
    assert ask(None, "GET", "/jobs") == 401
    assert ask("wrong", "GET", "/jobs") == 401
    assert ask("read", "GET", "/jobs") == 200
    assert ask("read", "POST", "/jobs", job) == 403
    assert ask("submit", "POST", "/jobs", job) == 201
    assert ask("submit", "POST", "/jobs/roles/cancel?now=1") == 403
    assert ask("admin", "POST", "/jobs/roles/cancel?now=1") in (202, 409)
    api.until("roles", "cancelled", "failed")


def test_what_a_job_and_the_service_say_and_leave(api: Server) -> None:
    """No secret of the service's environment can be read in a log, an answer, a config or a record."""
    hidden = HIDDEN | {"the service's token": TOKENS["admin"]}
    said = f"nothing={' '.join(hidden.values())} http://somebody:made-up-for-a-uri@host"
    hidden |= {"a URI's password": "made-up-for-a-uri"}
    target = hidden["AWS_SECRET_ACCESS_KEY"]
    answers = [
        api.call(method, path, body)
        for method, path, body in (
            ("POST", "/plan", {"id": "told", "kind": "train", "target": "scenes_gain", "overrides": [said]}),
            ("POST", "/jobs", {"id": "told", "kind": "evaluate", "target": target}),
        )
    ]
    assert [answer[0] for answer in answers] == [422, 201]
    api.until("told", "failed")
    (api.root / "told" / "config.yaml").write_text(f"data: {{root: '{said}'}}")
    more = (
        "/jobs", "/jobs/told", "/jobs/told/log", "/jobs/told/log?follow=true", "/runs", "/runs/told", "/metrics",
    )  # fmt: skip
    answers += [api.call("GET", path) for path in more]
    assert b"***" in answers[4][1]
    shown = [(str(number), str(answer).encode()) for number, answer in enumerate(answers)]
    assert leaks(hidden, shown) == []
    left = [(name, content) for name, content in under(api.root / "told") if not name.endswith("config.yaml")]
    assert left
    assert leaks(hidden, left) == []


def _forked(server: Server) -> list[psutil.Process]:
    """The processes that others are copies of, once there is one: their command lines come a moment after them."""
    while True:
        children = psutil.Process(server.process.pid).children()
        results = [child for child in children if "multiprocessing.forkserver" in " ".join(child.cmdline())]
        if results:
            return results
        assert server.process.poll() is None
        time.sleep(0.05)


def _driver(server: Server, job: str) -> psutil.Process:
    """The job's process; a process that has just begun shows its parent's environment for a moment."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                mark = process.environ().get("ATTN_SERVICE_JOB", "")
                if mark.startswith(str(server.root)) and mark.endswith(f":{job}"):
                    return process
        time.sleep(0.05)
    raise AssertionError("no driver")


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One service for the tests that leave it as it is, each of which waits for the end of its jobs."""
    folder = tmp_path_factory.mktemp("api")
    file = folder / "tokens.json"
    file.write_text(json.dumps({token: role for role, token in TOKENS.items()}))
    file.chmod(0o600)
    server = Server(folder / "runs", "--tokens", str(file), environment=HIDDEN, token=TOKENS["admin"])
    yield server
    server.kill()
