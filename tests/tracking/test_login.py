"""MLFLOW_TRACKING_URI: its precedence, and that its password is used but never shown or saved."""

from __future__ import annotations

import base64
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from attn.config.resolve import dump_config, resolve
from attn.errors import ConfigError, TrackingError
from attn.runs.recipes import load_any_config
from attn.tracking import TrackingConfig
from attn.tracking.address import tracking_uri
from attn.tracking.login import ENVIRONMENT, uri_with_login
from attn.tracking.mlflow_client import connect, mlflow_errors


@pytest.fixture(autouse=True)
def no_login(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("USERNAME", "PASSWORD", "TOKEN"):
        monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", "")  # so that what the code sets is put back
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}")


def test_the_config_wins_over_the_environment_and_that_over_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_any_config("scenes_gain", []).tracking.uri is None
    monkeypatch.setenv(ENVIRONMENT, "http://tracking.example:5000")
    for recipe in ("scenes_gain", "sec", "gain_segment_scenes", "sweep_scenes_gain"):
        assert load_any_config(recipe, []).tracking.uri == "http://tracking.example:5000"
    assert load_any_config("scenes_gain", ["tracking.uri=http://other"]).tracking.uri == "http://other"
    config = load_any_config("scenes_gain", ["tracking.uri=null"])
    assert tracking_uri(config.tracking, "/r") == "sqlite:////r/mlflow.db"
    recorded = dump_config(config)  # a resumed run stays where it is recorded
    assert resolve(type(config), recorded, "config.yaml", []).tracking.uri is None
    monkeypatch.setenv(ENVIRONMENT, "")
    assert load_any_config("scenes_gain", []).tracking.uri is None


@pytest.mark.parametrize(
    "uri",
    [
        "databricks", "./mlruns", "http://host/?token=hunter2", "sqlite://", "http://me:a/b#hunter2@host",
        "https://me:a/b?hunter2@host", "postgresql://me:a/b#hunter2@host/db", "postgresql://host/db?passwd=hunter2",
        "http:me:hunter2@host",
    ],
)  # fmt: skip
def test_an_invalid_uri_in_the_environment_is_an_error(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT, uri)
    with pytest.raises(ConfigError, match=f"tracking: the .* variable {ENVIRONMENT} .* set tracking.uri") as caught:
        load_any_config("scenes_gain", [])
    assert "hunter2" not in str(caught.value)
    assert load_any_config("scenes_gain", ["tracking.enabled=false"]).tracking.uri is None
    assert load_any_config("scenes_gain", ["tracking.uri=http://other"]).tracking.uri == "http://other"


@pytest.mark.parametrize(
    "uri",
    [
        "http://me:a/hunter2@host", "http://me:a/b#hunter2@host", "postgresql+psycopg2://me:a/hunter2@host/db",
        "http:/me:hunter2@host", "https://me:hunter2@a@host", "postgresql://host/db?pass=hunter2",
        "mysql+pymysql://host/db?user=me&pwd=hunter2", "sqlite://me:hunter2@host/a.db",
    ],
)  # fmt: skip
def test_a_password_in_a_config_is_refused_however_it_is_written(uri: str) -> None:
    with pytest.raises(ConfigError, match="must not contain a user or password") as caught:
        load_any_config("scenes_gain", [f"tracking.uri={uri}"])
    assert "hunter2" not in str(caught.value)
    assert TrackingConfig(uri="sqlite:////tmp/me@host/a.db").uri == "sqlite:////tmp/me@host/a.db"


@pytest.mark.parametrize(
    ("full", "bare"),
    [
        ("http://me:hunter2@host:5000", "http://host:5000"),
        ("https://me:hunter2%2F@host/mlflow", "https://host/mlflow"),
        ("postgresql+psycopg2://me:hun/ter2@host/db", "postgresql+psycopg2://host/db"),
    ],
)
def test_a_password_of_the_environment_is_in_no_config(full: str, bare: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT, full)
    config = load_any_config("scenes_gain", [])
    assert config.tracking.uri == bare
    assert "ter2" not in dump_config(config)
    assert uri_with_login("http://elsewhere") == "http://elsewhere"
    assert uri_with_login(bare) == (bare if bare.startswith("http") else full)


@pytest.mark.parametrize(
    ("uri", "package"),
    [
        ("postgresql+psycopg://me:hunter2@host/db", "psycopg"),
        ("mysql+pymysql://me:hunter2@host/db", "pymysql"),
        ("mssql+pyodbc://me:hunter2@host/db", "pyodbc"),
    ],
)
def test_a_database_without_its_driver(uri: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setenv(ENVIRONMENT, uri)
    bare = tracking_uri(TrackingConfig(), "/r")
    absent = f"database driver {package} is not installed. Install it"
    with pytest.raises(TrackingError, match=absent) as caught, mlflow_errors(bare, "looking"):
        connect(bare).search_experiments()
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("uri", ["postgresql://host:x/db", "http://host:99999", "mysql://host:-1/db"])
def test_a_port_is_a_number(uri: str) -> None:
    with pytest.raises(ConfigError, match="uri has a port that is not a number from 0 to 65535"):
        load_any_config("scenes_gain", [f"tracking.uri={uri}"])
    assert TrackingConfig(uri="http://[::1]:5000").uri == "http://[::1]:5000"


@pytest.fixture
def guarded() -> Iterator[tuple[str, list[str]]]:
    """The address of a server that refuses every login, and the logins that it received."""
    received: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def refuse(self) -> None:
            received.append(self.headers.get("Authorization", ""))
            self.send_response(401)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    for method in ("GET", "POST"):
        setattr(Handler, f"do_{method}", Handler.refuse)
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}", received
        server.shutdown()


def test_the_password_is_sent_only_to_the_server(
    guarded: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, received = guarded
    monkeypatch.setenv(ENVIRONMENT, f"http://me:hunter%2F2@{address}")
    uri = tracking_uri(TrackingConfig(), "/r")
    with pytest.raises(TrackingError, match="was refused") as caught, mlflow_errors(uri, "looking"):
        connect(uri).search_experiments()
    assert received == ["Basic " + base64.b64encode(b"me:hunter/2").decode()]
    assert "hunter" not in f"{caught.value} {caught.value.__cause__}"


def test_a_databases_password_is_not_in_messages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT, "postgresql://me:hunter2@127.0.0.1:9/db")
    uri = tracking_uri(TrackingConfig(), str(tmp_path))
    with pytest.raises(TrackingError) as caught, mlflow_errors(uri, "looking"):
        raise OSError("cannot reach postgresql://me:hunter2@127.0.0.1:9/db")
    assert "hunter2" not in str(caught.value)
    assert "postgresql://127.0.0.1:9/db" in str(caught.value)
