"""What `/openapi.json` promises: each error where it occurs, as a problem, and generated requests find nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from benchmarks.attack.api import TOKEN, attack_api
from services.api import create_app
from services.supervisor import Supervisor
from services.table import Job, JobTable

READ, SUBMIT = "read-token-of-the-test", "submit-token-of-the-test"
JOB = {"id": "new", "kind": "evaluate", "target": "absent"}
COMMON = {400, 401, 403, 413, 502, 503, 507}
DESCRIBED: dict[tuple[str, str], set[int]] = {
    ("get", "/healthz"): {200, 400, 403, 413, 503},
    ("get", "/runs"): {200} | COMMON,
    ("get", "/runs/{run_id}"): {200, 404, 422} | COMMON,
    ("get", "/jobs"): {200, 422} | COMMON,
    ("post", "/jobs"): {200, 201, 409, 422, 429} | COMMON,
    ("post", "/plan"): {200, 422, 429} | COMMON,
    ("get", "/jobs/{job_id}"): {200, 404, 422} | COMMON,
    ("get", "/jobs/{job_id}/log"): {200, 404, 422} | COMMON,
    ("post", "/jobs/{job_id}/cancel"): {202, 404, 409, 422} | COMMON,
    ("post", "/jobs/{job_id}/resume"): {202, 404, 409, 422, 429} | COMMON,
    ("get", "/metrics"): {200} | COMMON,
}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A service whose queue is full, with a job in each state that matters."""
    folder = tmp_path_factory.mktemp("schema")
    table = JobTable(f"sqlite:///{folder / 'jobs.db'}", max_queued=1)
    supervisor = Supervisor(str(folder / "runs"), folder / "home", table)
    for state in ("queued", "done", "failed"):
        table.add(Job(id=state, kind="evaluate", target="absent", request="r", state=state))
    app = create_app(supervisor.root, supervisor, tokens={TOKEN: "admin", SUBMIT: "submit", READ: "read"})
    with TestClient(app, base_url="http://127.0.0.1") as one:
        yield one
    supervisor.stop()
    table.close()


def test_each_operation_lists_its_statuses_and_errors_are_problems(client: TestClient) -> None:
    described = client.get("/openapi.json", headers={"Authorization": f"Bearer {READ}"}).json()
    results = {
        (method, path): operation["responses"]
        for path, operations in described["paths"].items()
        for method, operation in operations.items()
    }
    assert {name: set(map(int, answers)) for name, answers in results.items()} == DESCRIBED
    for answers in results.values():
        for status, answer in answers.items():
            assert answer["description"]
            if int(status) >= 400:
                assert list(answer["content"]) == ["application/problem+json"]
    assert "HTTPValidationError" not in described["components"]["schemas"]
    assert described["paths"]["/jobs"]["get"]["security"] == [{"token": []}]


@pytest.mark.parametrize(
    ("method", "path", "given", "status", "words"),
    [
        ("GET", "/runs", {"headers": {"Host": "attacker.example"}}, 400, "can be called as"),
        ("GET", "/runs", {"headers": {"Host": "[::1].attacker.example"}}, 200, ""),
        ("GET", "/runs", {"headers": {"Host": "localhost.attacker.example"}}, 400, "can be called as"),
        ("GET", "/runs", {"headers": {"Host": ""}}, 400, "can be called as"),
        ("POST", "/jobs", {"content": b"{", "token": SUBMIT}, 422, "valid dictionary"),
        ("POST", "/jobs", {"content": b"[" * 100_000, "token": SUBMIT}, 422, ""),
        ("POST", "/jobs", {"content": b'{"id": "\xff"}', "token": SUBMIT}, 422, ""),
        ("POST", "/jobs", {"content": b'{"max_duration": ' + b"9" * 5000 + b"}", "token": SUBMIT}, 422, ""),
        ("GET", "/jobs", {"token": "wrong"}, 401, "a valid token is needed"),
        ("GET", "/jobs", {"token": ""}, 401, "a valid token is needed"),
        ("POST", "/jobs", {"json": JOB, "token": READ}, 403, "role submit"),
        ("POST", "/jobs/queued/cancel?now=1", {"token": SUBMIT}, 403, "role admin"),
        ("GET", "/jobs", {"headers": {"Origin": "http://attacker.example"}}, 403, "other sites"),
        ("GET", "/jobs/none", {}, 404, "no job 'none'"),
        ("GET", "/jobs/", {}, 404, ""),
        ("GET", "/nowhere", {}, 404, ""),
        ("GET", "/runs/none", {}, 404, "no run 'none'"),
        ("DELETE", "/jobs", {}, 405, ""),
        ("POST", "/jobs/done/cancel", {}, 409, "has ended"),
        ("POST", "/jobs/done/resume", {}, 409, "nothing to resume"),
        ("POST", "/jobs", {"json": {**JOB, "id": "done"}}, 409, "with another request"),
        ("POST", "/jobs", {"content": b" " * ((1 << 20) + 1)}, 413, "larger than 1048576"),
        ("POST", "/jobs", {"json": {**JOB, "id": ""}}, 422, "id"),
        ("GET", "/jobs/done/log?offset=9223372036854775808", {}, 422, "offset"),
        ("GET", "/jobs/done/log?offset=-1", {}, 422, "offset"),
        ("GET", "/jobs/done/log?follow=perhaps", {}, 422, "follow"),
        ("POST", "/jobs", {"json": JOB}, 429, "the queue is full"),
        ("POST", "/jobs/failed/resume", {}, 429, "the queue is full"),
    ],
)
def test_every_refusal_is_a_problem(
    client: TestClient, method: str, path: str, given: dict[str, Any], status: int, words: str
) -> None:
    given = dict(given)
    headers = {"Authorization": f"Bearer {given.pop('token', TOKEN)}", **given.pop("headers", {})}
    answer = client.request(method, path, headers=headers, **given)
    assert answer.status_code == status, answer.text
    if status < 400:
        return
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status
    assert words in answer.json()["detail"]
    needed = {401: "www-authenticate", 405: "allow", 429: "retry-after"}.get(status)
    assert needed is None or answer.headers[needed]
    if status == 405:
        assert answer.headers["allow"] == "GET, POST"


def test_generated_requests_get_what_is_described(tmp_path: Path) -> None:
    status, report = attack_api(examples=3, seconds=None, seed=1)
    assert status == 0, report
    assert "11 selected / 11 total" in report
