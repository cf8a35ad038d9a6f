"""The HTTP service over a folder of runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from services import api
from services.api import create_app

METRICS = {"val/mean_ap": 0.75, "val/broken": float("nan")}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "runs"
    for name, started in (("first", 1.0), ("second", 2.0)):
        (folder / name).mkdir(parents=True)
        state = {"id": name, "kind": "train", "state": "done", "started": started, "epoch": 3, "metrics": METRICS}
        (folder / name / "run.json").write_text(json.dumps(state))
    (folder / "second" / "config.yaml").write_text("# resolved\nseed: 3\nmethod:\n  name: gain\n")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "run.json").write_text(json.dumps({"id": "secret"}))
    return folder


@pytest.fixture
def client(root: Path) -> Iterator[TestClient]:
    with TestClient(create_app(str(root)), base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        yield client


def test_health(client: TestClient) -> None:
    assert client.get("/healthz").json()["status"] == "ok"


def test_runs_come_newest_first(client: TestClient) -> None:
    runs = client.get("/runs").json()["runs"]
    assert [run["id"] for run in runs] == ["second", "first"]
    assert runs[0]["metrics"] == {"val/mean_ap": 0.75, "val/broken": None}


def test_a_run_has_its_config_state_and_last_metrics(client: TestClient) -> None:
    run = client.get("/runs/second").json()
    assert run["config"] == {"seed": 3, "method": {"name": "gain"}}
    assert (run["state"], run["epoch"], run["metrics"]["val/mean_ap"]) == ("done", 3, 0.75)
    assert client.get("/runs/first").json()["config"] == {}


@pytest.mark.parametrize("run_id", ["none", "%2e%2e", "..%2fsecret", "%2e%2e%2fsecret", "..%5csecret", "a" * 200])
def test_what_is_no_run_is_a_problem_and_leads_nowhere(client: TestClient, run_id: str) -> None:
    answer = client.get(f"/runs/{run_id}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == 404
    assert "secret" not in answer.json().get("config", "")


def test_what_nobody_foresaw_is_a_problem_without_details(
    client: TestClient, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(place: str) -> None:
        raise ZeroDivisionError(place)

    monkeypatch.setattr(api, "list_runs", fail)
    answer = client.get("/runs")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert str(root) not in answer.text


def test_nothing_can_be_changed(client: TestClient) -> None:
    answer = client.post("/runs/second")
    assert answer.status_code == 405
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["allow"] == "GET"


def test_another_host_name_is_refused(root: Path) -> None:
    with TestClient(create_app(str(root)), base_url="http://attacker.example") as client:
        assert client.get("/runs").status_code == 400
