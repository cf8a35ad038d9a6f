"""Requests at the wrong time or beyond all bounds, to the application itself: nothing runs here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from services.api import create_app
from services.supervisor import Supervisor
from services.table import Job, JobTable


@pytest.fixture
def table(tmp_path: Path) -> Iterator[JobTable]:
    table = JobTable(f"sqlite:///{tmp_path}/jobs.db")
    table.add(Job(id="j", kind="evaluate", target="absent", request="r"))
    yield table
    table.close()


@pytest.fixture
def client(tmp_path: Path, table: JobTable) -> Iterator[TestClient]:
    supervisor = Supervisor(str(tmp_path), tmp_path / ".service", table)
    app = create_app(str(tmp_path), supervisor)
    with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        yield client
    supervisor.stop()


@pytest.mark.parametrize("state", ["running", "unreachable"])
@pytest.mark.parametrize("now", [False, True])
def test_a_job_that_is_being_cancelled_is_not_resumed_behind_its_back(
    client: TestClient, table: JobTable, state: str, now: bool
) -> None:
    table.change("j", ["queued"], state=state)
    assert client.post("/jobs/j/resume").status_code == 202  # it runs already
    assert client.post(f"/jobs/j/cancel?now={now}").status_code == 202
    refused = client.post("/jobs/j/resume")
    assert (refused.status_code, refused.headers["content-type"]) == (409, "application/problem+json")
    assert "is being cancelled: resume it once it has ended; `attn status j --wait`" in refused.json()["detail"]
    job = table.get("j")
    assert job is not None
    assert (job.state, job.cancel) == (state, "now" if now else "seal")
    table.end(job, "cancelled")
    assert client.post("/jobs/j/resume").json()["state"] == "queued"


@pytest.mark.parametrize(
    ("offset", "status"),
    [(0, 200), (2**31, 200), (2**53, 200), (2**63 - 1, 200), (2**63, 422), (2**64, 422), (10**400, 422), (-1, 422),
     ("1e3", 422), ("x", 422), ("", 422), ("٣", 422), ("0x10", 422), ("NaN", 422)],
)  # fmt: skip
def test_an_offset_is_a_place_that_a_file_may_have(
    client: TestClient, tmp_path: Path, offset: Any, status: int
) -> None:
    (tmp_path / "j").mkdir()
    (tmp_path / "j" / "job.log").write_text("a line\n")
    answer = client.get("/jobs/j/log", params={"offset": str(offset)})
    assert answer.status_code == status, answer.text
    assert (answer.headers["content-type"] == "application/problem+json") == (status != 200)


@pytest.mark.parametrize("kind", ["folder", "pipe", "loop"])
def test_a_log_that_is_no_file_is_none(client: TestClient, tmp_path: Path, kind: str) -> None:
    """A store of another job may lie where a log is to be."""
    log = tmp_path / "j" / "job.log"
    log.parent.mkdir()
    {"folder": log.mkdir, "pipe": lambda: os.mkfifo(log), "loop": lambda: log.symlink_to(log)}[kind]()
    answer = client.get("/jobs/j/log")
    assert (answer.status_code, answer.text) == (200, "")


@pytest.mark.parametrize(
    "asked",
    [
        '{"id": "x", "kind": "train", "target": "scenes_gain", "overrides": ["\\ud800=1"]}',
        '{"id": "x", "kind": "train", "target": "scenes_gain", "overrides": ["data.root=\\udfff"]}',
        '{"id": "x", "kind": "train", "config": "\\ud800"}',
        '{"id": "x", "kind": "evaluate", "target": "\\ud800"}',
        '{"id": "\\ud800", "kind": "evaluate", "target": "x"}',
        '{"id": "x", "kind": "evaluate", "target": "x", "address": "\\ud800"}',
        '{"id": "mlflow.db", "kind": "evaluate", "target": "x"}',
        '{"id": "mlflow.db-wal", "kind": "train", "target": "scenes_gain"}',
        '{"id": "mlflow-artifacts", "kind": "sweep", "target": "sweep_scenes_gain"}',
    ],
)
@pytest.mark.parametrize("route", ["/jobs", "/plan"])
def test_what_no_job_can_have_is_refused(client: TestClient, route: str, asked: str) -> None:
    answer = client.post(route, content=asked, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json"), answer.text


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"kind": "tran"}, "kind = 'tran' is not available: one of train, segment, pipeline, sweep, evaluate or maps; "
                           "did you mean train?"),
        ({"kind": "evalute"}, "did you mean evaluate?"),
        ({"kind": 7}, "kind = 7 is not available: one of train"),
        ({"id": "a b"}, "id = 'a b' should match"),
        ({"id": None}, "id = None should be"),
        ({"priority": 5000}, "priority = 5000 should be less than"),
        ({"priority": "http://me:hidden@host"}, "priority = 'http://"),
        ({"max_duration": -1}, "max_duration = -1 should be greater than 0"),
        ({"tagret": "x"}, "tagret is not a known field; did you mean target?"),
        ({"target": "../x"}, "target='../x' is not a run's name"),
        ({"overrides": [1]}, "overrides.0 = 1 should be"),
        ({"overrides": [1] * 400}, "and 380 more"),
        ({"config": "x" * 300_000}, "config = 'xxx"),
        ("x", "should be a valid dictionary"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named_as_its_sender_has(client: TestClient, asked: Any, said: str) -> None:
    body = {"id": "x", "kind": "evaluate", "target": "absent", **asked} if isinstance(asked, dict) else asked
    answer = client.post("/jobs", json=body)
    detail = answer.json()["detail"]
    assert (answer.status_code, said in detail) == (422, True), detail
    assert not [word for word in ("body", "hidden", "Value error") if word in detail]
    assert len(detail) < 2000


def test_a_body_that_is_none_is_named(client: TestClient) -> None:
    for content, said in ((b"{", "the body is not JSON"), (b"", "body is missing")):
        answer = client.post("/jobs", content=content, headers={"Content-Type": "application/json"})
        assert (answer.status_code, answer.json()["detail"]) == (422, said)
    answer = client.get("/jobs?limit=0")
    assert "limit = '0' should be greater than or equal to 1" in answer.json()["detail"]
