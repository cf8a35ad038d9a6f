"""More jobs than a service can run: pages, one query for any number, a queue with an end, and no locked database."""

from __future__ import annotations

import contextlib
import json
import random
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import event

from attn.errors import RunError
from services import client as cli_client
from services import job_desk
from services.api import create_app
from services.cli.jobs import list_there
from services.client import Client
from services.connections import Limits
from services.planning import Planner
from services.supervisor import Supervisor
from services.table import Job, JobTable, QueueFullError
from tests.clocks import Clocks
from tests.hostile.serving import serving

STATES = ("queued", "running", "unreachable", "done", "failed", "cancelled", "lost")


@pytest.fixture
def table(tmp_path: Path) -> Iterator[JobTable]:
    one = JobTable(f"sqlite:///{tmp_path / 'jobs.db'}")
    yield one
    one.close()


@pytest.fixture(autouse=True)
def _admitted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Submissions are not looked at: the process that does so would take seconds to import PyTorch."""
    monkeypatch.setattr(Planner, "check", lambda self, submission: None)


def job(name: str, **fields: Any) -> Job:
    return Job(id=name, kind="evaluate", target="absent", request="r", **fields)


def supervisor_of(table: JobTable, tmp_path: Path) -> Supervisor:
    """One that is not started: what is queued stays queued."""
    return Supervisor(str(tmp_path / "runs"), tmp_path / "home", table)


def test_a_reader_does_not_keep_writers_waiting(table: JobTable, tmp_path: Path) -> None:
    table.add(job("first"))
    with closing(sqlite3.connect(tmp_path / "jobs.db", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM attn_jobs").fetchone() == (1,)
        assert table.add(job("second"))
        assert table.change("first", ["queued"], state="running")
        assert reader.execute("SELECT count(*) FROM attn_jobs").fetchone() == (1,), "it sees what was there before"
    assert table.counts() == {"queued": 1, "running": 1}


def test_a_writer_of_another_process_is_waited_for(table: JobTable, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "jobs.db", isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        timer = threading.Timer(0.3, other.execute, ["COMMIT"])
        timer.start()
        assert table.add(job("late"))
        timer.join()


def test_many_threads_write_at_once(table: JobTable) -> None:
    faults: list[Exception] = []

    def client(number: int) -> None:
        try:
            for turn in range(4):
                name = f"j{number}-{turn}"
                assert table.add(job(name))
                assert not table.add(job(name)), "its id is taken"
                table.page(5)
                assert table.change(name, ["queued"], state="cancelled")
        except Exception as error:
            faults.append(error)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert table.counts() == {"cancelled": 128}


@pytest.mark.parametrize("seed", range(3))
def test_pages_hold_every_job_once_and_places_are_those_of_the_queue(table: JobTable, seed: int) -> None:
    chosen = random.Random(seed)
    fields = [
        {"state": chosen.choice(STATES), "priority": chosen.randrange(3), "submitted": float(chosen.randrange(9))}
        for _ in range(50)
    ]
    jobs = [job(f"j{number}", **given) for number, given in enumerate(fields)]
    for one in jobs:
        table.add(one)
    newest = [one.id for one in sorted(sorted(jobs, key=lambda o: o.id, reverse=True), key=lambda o: -o.submitted)]
    waiting = [one for one in jobs if one.state == "queued"]
    queue = [one.id for one in sorted(waiting, key=lambda o: (-o.priority, o.submitted, o.id))]
    limit, last = chosen.randrange(1, 20), None
    seen: list[tuple[Job, int | None]] = []
    while page := table.page(limit, last):
        seen += page
        last = page[-1][0]
        table.add(job(f"new{len(seen)}", submitted=100.0))  # what comes meanwhile is on no later page
    assert [one.id for one, _ in seen] == newest
    for one, ahead in seen:
        assert ahead == (queue.index(one.id) if one.state == "queued" else None)
        if one.state == "queued":
            assert table.ahead(one) == queue.index(one.id)
    assert [one.id for one in table.queue(1000) if one.submitted < 100] == queue
    assert [one.id for one in table.queue(2)] == [one.id for one in table.queue(1000)][:2]


def test_a_list_takes_as_many_queries_for_many_jobs_as_for_few(table: JobTable, tmp_path: Path) -> None:
    supervisor = supervisor_of(table, tmp_path)
    statements: list[str] = []
    event.listen(table.engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    counts: list[int] = []
    with TestClient(create_app(supervisor.root, supervisor), base_url="http://127.0.0.1") as client:
        for number in (1, 30, 90):
            for at in range(number):
                table.add(job(f"j{number}-{at}"))
            statements.clear()
            assert len(client.get(f"/jobs?limit={number}").json()["jobs"]) == number
            counts.append(len(statements))
    assert all(a == b for a, b in pairwise(counts)), counts
    assert counts[0] <= 6  # two questions, each with its BEGIN
    supervisor.stop()


def test_a_round_of_the_supervisor_reads_no_more_of_the_queue_than_it_starts(
    table: JobTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor = supervisor_of(table, tmp_path)
    for number in range(20):
        table.add(job(f"j{number}"))
    started: list[Job] = []
    monkeypatch.setattr(supervisor, "_start", started.append)
    statements: list[tuple[str, Any]] = []
    event.listen(table.engine, "before_cursor_execute", lambda *given: statements.append(given[2:4]))
    supervisor.tick()
    assert len(started) == 1
    assert all("LIMIT" in text for text, values in statements if "queued" in values)
    supervisor.stop()


def test_the_queue_has_an_end_that_is_told(tmp_path: Path) -> None:
    table = JobTable(f"sqlite:///{tmp_path / 'jobs.db'}", max_queued=2)
    supervisor = supervisor_of(table, tmp_path)

    def body(name: str) -> dict[str, Any]:
        return {"id": name, "kind": "evaluate", "target": "absent"}

    with TestClient(create_app(supervisor.root, supervisor), base_url="http://127.0.0.1") as client:
        assert [client.post("/jobs", json=body(name)).status_code for name in "aab"] == [201, 200, 201]
        full = client.post("/jobs", json=body("c"))
        assert full.status_code == 429
        assert int(full.headers["retry-after"]) > 0
        assert full.headers["content-type"] == "application/problem+json"
        assert full.json()["code"] == "queue_full"
        assert "2 jobs wait" in full.json()["detail"]
        assert "--max-queued" in full.json()["detail"]
        assert client.post("/jobs", json=body("a")).status_code == 200, "it is there already"
        table.add(job("old", state="failed"))
        assert client.post("/jobs/old/resume").status_code == 429
        assert client.get("/jobs/old").json()["state"] == "failed"
        assert client.post("/jobs/a/cancel").status_code == 202
        assert client.post("/jobs/old/resume").status_code == 202
    with pytest.raises(QueueFullError):
        table.add(job("d"))
    supervisor.stop()
    table.close()


def test_submissions_that_take_long_leave_others_their_answers(
    table: JobTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor, done = supervisor_of(table, tmp_path), threading.Event()
    monkeypatch.setattr(Planner, "check", lambda self, submission: done.wait(300))
    monkeypatch.setattr(Planner, "plan", lambda self, submission: done.wait(300) and {})
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(serving(create_app(supervisor.root, supervisor), Limits()))
        stack.callback(done.set)
        waiting = [HTTPConnection("127.0.0.1", port, timeout=300) for _ in range(100)]
        for number, one in enumerate(waiting):
            body = json.dumps({"id": f"j{number}", "kind": "evaluate", "target": "absent"})
            one.request("POST", ("/jobs", "/plan")[number % 2], body, {"Content-Type": "application/json"})
        for path in ("/jobs", "/jobs/none", "/metrics", "/healthz"):
            other = HTTPConnection("127.0.0.1", port, timeout=60)
            other.request("GET", path)
            assert other.getresponse().status in (200, 404)
            other.close()
        done.set()
        assert [one.getresponse().status for one in waiting] == [201, 200] * 50
        for one in waiting:
            one.close()
    supervisor.stop()


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "limit=x", "cursor=none", "cursor=..%2fa", "cursor="])
def test_pages_that_there_are_not_are_a_problem(table: JobTable, tmp_path: Path, query: str) -> None:
    supervisor = supervisor_of(table, tmp_path)
    with TestClient(create_app(supervisor.root, supervisor), base_url="http://127.0.0.1") as client:
        answer = client.get(f"/jobs?{query}")
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    supervisor.stop()


def test_the_command_line_reads_all_pages_and_waits_where_it_is_asked_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = JobTable(f"sqlite:///{tmp_path / 'jobs.db'}", max_queued=1203)
    supervisor = supervisor_of(table, tmp_path)
    with table.engine.begin() as connection:
        rows = [vars(job(f"j{number:04d}", submitted=float(number))) for number in range(1203)]
        connection.execute(table.table.insert(), rows)
    body = {"id": "more", "kind": "evaluate", "target": "absent"}
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            table.change("j0000", ["queued"], state="cancelled")

    monkeypatch.setattr(cli_client.time, "sleep", pause)
    with serving(create_app(supervisor.root, supervisor), Limits()) as port:
        jobs = list_there("runs", f"http://127.0.0.1:{port}")
        assert [one["id"] for one in jobs] == [f"j{number:04d}" for number in reversed(range(1203))]
        assert jobs[0]["waiting"].endswith("1202 job(s) before it in the queue")
        service = Client(f"http://127.0.0.1:{port}")
        assert service.post("/jobs", body)["state"] == "queued"
        assert pauses == [10.1, 10.1]
        monkeypatch.setattr(cli_client, "PATIENCE_SECONDS", 5)
        with pytest.raises(RunError, match="the queue is full: 1203 jobs wait"):
            service.post("/jobs", {**body, "id": "still-more"})
    supervisor.stop()
    table.close()


def test_what_ended_long_ago_is_forgotten(table: JobTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the table nor the service's folder grows without an end; runs stay."""
    monkeypatch.setattr("services.supervisor.KEPT_JOBS", 3)
    supervisor = supervisor_of(table, tmp_path)
    monkeypatch.setattr(supervisor, "slots", 0)
    for number, state in enumerate(["done", "failed", "cancelled", "lost", "done", "done"]):
        table.add(job(f"j{number}", state=state, ended=float(number), attempt=2, submitted=-float(number)))
    table.add(job("j0.2", state="done", ended=50.0, attempt=1))
    for name, state in (("waits", "queued"), ("runs", "running"), ("away", "unreachable")):
        table.add(job(name, state=state, ended=0.0))
    kept, jobs = ["j0.2.1.json", "j4.2.json"], tmp_path / "home" / "jobs"
    gone = ["j0.1.json", "j0.2.json", "j0.2.json.exit", "j0.1.told", "j3.2.start"]
    for file in (*kept, *gone):
        (jobs / file).touch()
    (tmp_path / "runs" / "j0").mkdir(parents=True)
    (tmp_path / "runs" / "j0" / "run.json").write_text("{}")
    monkeypatch.setattr(supervisor, "_poll", lambda job: None)
    supervisor.tick()
    assert {one.id for one in table.list(STATES)} == {"j0.2", "j5", "j4", "waits", "runs", "away"}
    assert sorted(file.name for file in jobs.iterdir()) == sorted(kept)
    with TestClient(create_app(supervisor.root, supervisor), base_url="http://127.0.0.1") as client:
        assert client.get("/jobs/j0").status_code == 404
        assert client.post("/jobs/j0/resume").status_code == 404
        again = client.post("/jobs", json={"id": "j0", "kind": "evaluate", "target": "absent"})
        assert (again.status_code, "without a job in this service" in again.json()["detail"]) == (409, True)
    supervisor.stop()


def test_a_full_queue_that_is_cancelled_fills_again(tmp_path: Path) -> None:
    table = JobTable(f"sqlite:///{tmp_path / 'jobs.db'}", max_queued=5)
    supervisor = supervisor_of(table, tmp_path)
    with TestClient(create_app(supervisor.root, supervisor), base_url="http://127.0.0.1") as client:
        for turn in range(2):
            bodies = [{"id": f"j{turn}-{n}", "kind": "evaluate", "target": "absent"} for n in range(7)]
            answers = [client.post("/jobs", json=one) for one in bodies]
            assert [one.status_code for one in answers] == [201] * 5 + [429] * 2
            assert all(int(one.headers["retry-after"]) > 0 for one in answers[5:])
            assert all(client.post(f"/jobs/{one['id']}/cancel").json()["state"] == "cancelled" for one in bodies[:5])
            assert client.post(f"/jobs/j{turn}-0/cancel").status_code == 202, "again, which changes nothing"
    assert table.counts() == {"cancelled": 10}
    supervisor.stop()
    table.close()


@pytest.mark.parametrize("steps", [(-1.0, 1.0), (-3600.0, 3600.0), (-86400.0, 86400.0), (86400.0, -86400.0, -86400.0)])
def test_a_clock_that_is_set_leaves_the_queue_in_its_order(
    table: JobTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: tuple[float, ...]
) -> None:
    clocks = Clocks(monkeypatch, [job_desk])
    supervisor = supervisor_of(table, tmp_path)
    with TestClient(create_app(supervisor.root, supervisor), base_url="http://127.0.0.1") as client:
        names = [f"j{number}" for number in (5, 1, 4, 0, 3)][: len(steps) + 1]
        for name, step in zip(names, (*steps, 0.0), strict=True):
            assert client.post("/jobs", json={"id": name, "kind": "evaluate", "target": "absent"}).status_code == 201
            clocks.step(step)
        assert [one.id for one in table.queue(10)] == names
        for name in names:
            client.post(f"/jobs/{name}/cancel")
        client.post("/jobs", json={"id": "later", "kind": "evaluate", "target": "absent"})
        assert client.get("/jobs/later").json()["submitted"] == clocks.wall, "once nobody waits, the clock is believed"
    supervisor.stop()


def test_who_waits_for_a_locked_table_is_told_and_leaves_readers_their_answers(
    table: JobTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.table.TURN_SECONDS", 0.5)
    supervisor = supervisor_of(table, tmp_path)
    table.add(job("j"))
    with (
        serving(create_app(supervisor.root, supervisor), Limits()) as port,
        closing(sqlite3.connect(tmp_path / "jobs.db", isolation_level=None)) as other,
    ):
        other.execute("BEGIN IMMEDIATE")  # as another program does, for longer than anybody waits
        writers = [HTTPConnection("127.0.0.1", port, timeout=60) for _ in range(60)]
        for one in writers:
            one.request("POST", "/jobs/j/cancel", b"{}")
        reader = HTTPConnection("127.0.0.1", port, timeout=60)
        reader.request("GET", "/jobs/j")
        assert reader.getresponse().status == 200
        other.execute("COMMIT")
        answers = [one.getresponse() for one in writers]
        messages = [(one.status, one.headers["retry-after"]) for one in answers]
        assert set(messages) <= {(202, None), (503, "10")}, "what waits in the database itself is served"
        for one in (*writers, reader):
            one.close()
    assert table.counts() == {"cancelled": 1}
    supervisor.stop()
