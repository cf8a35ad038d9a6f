"""A disk that is full or read-only, and a database that fails, are said in one message: no fault of the program."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import event
from sqlalchemy.exc import IntegrityError, OperationalError

from services.api import create_app
from services.storage_faults import storage_fault
from services.supervisor import StateDirLostError, Supervisor
from services.table import Job, JobTable
from tests.bundles import tiny_bundle
from tests.services.cli.conftest import Attn, attn

__all__ = ["attn"]

ASKED: dict[str, Any] = {"kind": "evaluate", "target": "absent"}


@contextlib.contextmanager
def serving(root: Path, database: str, home: Path | None = None) -> Iterator[tuple[TestClient, Supervisor]]:
    """The application over a job table; nothing is started, and what is submitted is taken as it is."""
    table = JobTable(database)
    supervisor = Supervisor(str(root), home or root / ".service", table)
    try:
        app = create_app(str(root), supervisor)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("services.planning.Planner.check", lambda *given: None)
            with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
                yield client, supervisor
    finally:
        supervisor.stop()
        table.close()


def fill(disk: Path) -> None:
    """Leave no room."""
    with (disk / "ballast").open("wb") as stream:
        room = os.fstatvfs(stream.fileno())
        os.posix_fallocate(stream.fileno(), 0, room.f_bavail * room.f_frsize)


def test_a_full_disk_is_said_and_what_was_taken_in_stays(tmp_path: Path) -> None:
    with serving(tmp_path, f"sqlite:///{tmp_path}/jobs.db") as (client, supervisor):
        assert client.post("/jobs", json={"id": "before", **ASKED}).status_code == 201
        with room_for(supervisor.table, pages=1):  # SQLite says of this what it says of a full disk
            for number in range(3):
                answer = client.post("/jobs", json={"id": f"x{number}", **ASKED, "overrides": ["a=" + "b" * 20_000]})
                assert (answer.status_code, answer.json()["code"]) == (507, "storage"), answer.text
                assert answer.headers["content-type"] == "application/problem+json"
                assert "disk is full" in answer.json()["detail"]
                assert str(tmp_path) not in answer.text
            assert client.get("/jobs/before").json()["state"] == "queued"
        assert client.post("/jobs", json={"id": "after", **ASKED}).status_code == 201


@contextlib.contextmanager
def room_for(table: JobTable, pages: int) -> Iterator[None]:
    """Within, the table's file may not grow beyond so many pages, or those that it has."""

    def limit(connection: Any, record: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages}")

    table.engine.dispose()
    event.listen(table.engine, "connect", limit)
    try:
        yield
    finally:
        event.remove(table.engine, "connect", limit)
        table.engine.dispose()


def test_a_job_that_a_full_disk_lets_nobody_start_says_so(small_disk: Path, tmp_path: Path) -> None:
    with serving(small_disk, f"sqlite:///{tmp_path}/jobs.db") as (client, supervisor):
        client.post("/jobs", json={"id": "x", **ASKED})
        fill(small_disk)
        supervisor.tick()
        job = client.get("/jobs/x").json()
        assert (job["state"], "could not be started: No space left" in job["error"]) == ("failed", True), job


def test_a_database_that_may_only_be_read(tmp_path: Path) -> None:
    JobTable(f"sqlite:///{tmp_path}/jobs.db").close()
    with serving(tmp_path, f"sqlite:///file:{tmp_path}/jobs.db?mode=ro&uri=true") as (client, _):
        answer = client.post("/jobs", json={"id": "x", **ASKED})
        assert (answer.status_code, answer.json()["code"]) == (503, "storage")
        assert "may not write" in answer.json()["detail"]
        assert client.get("/jobs").status_code == 200


@pytest.mark.parametrize(
    ("number", "status"),
    [(errno.ENOSPC, 507), (errno.EDQUOT, 507), (errno.EFBIG, 507), (errno.EROFS, 503), (errno.EACCES, 503),
     (errno.EIO, 503), (errno.EMFILE, 503), (errno.ENOENT, 500), (errno.EINVAL, 500)],
)  # fmt: skip
@pytest.mark.parametrize("seam", ["add", "get", "change"])
def test_whatever_the_disk_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, status: int, seam: str
) -> None:
    def fails(*arguments: object, **options: object) -> None:
        raise OSError(number, "made up", "/secret/path")

    with serving(tmp_path, f"sqlite:///{tmp_path}/jobs.db") as (client, supervisor):
        supervisor.table.add(Job(id="x", kind="evaluate", target="absent", request="r"))
        monkeypatch.setattr(supervisor.table, seam, fails)
        answer = client.post(*{"add": ("/jobs",), "get": ("/jobs/x/cancel",), "change": ("/jobs/x/cancel",)}[seam],
                             json={"id": "new", **ASKED})  # fmt: skip
    assert (answer.status_code, "/secret" in answer.text) == (status, False)


def test_what_is_no_fault_of_storage() -> None:
    assert storage_fault(ValueError("x")) is None
    assert storage_fault(IntegrityError("x", None, ValueError("x"))) is None
    gone = storage_fault(OperationalError("SELECT secret", None, ValueError("server closed the connection")))
    assert gone is not None
    assert (gone.status, "secret" in gone.detail) == (503, False)


def is_one_error(done: Any, *words: str) -> None:
    assert (done.status, done.err.count("error: ")) == (1, 1), done
    assert "Traceback" not in done.err
    assert not [word for word in words if word not in done.err], done.err


def test_a_root_that_cannot_be_written_is_one_message(attn: Attn, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for root in ("/proc/runs", "/sys/runs", f"{tmp_path}/file/runs"):
        is_one_error(attn("serve", "--port", "0", "--root", root), f"{root}/.service cannot be used", "another --root")


def test_a_limit_of_file_sizes_is_one_message(attn: Attn, tmp_path: Path) -> None:
    model = str(tiny_bundle(tmp_path / "model"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    outcomes: list[Any] = []
    for words in (
        ("serve", "--port", "0", "--root", str(tmp_path / "runs")),
        ("evaluate", model, "data.source=scenes", "data.count=2", "data.size=32", f"root={tmp_path}/e",
         "tracking.enabled=false"),
    ):  # fmt: skip
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
        try:
            outcomes.append(attn(*words))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    is_one_error(outcomes[0], "database cannot be opened")
    is_one_error(outcomes[1], "cannot be written: File too large")


@pytest.mark.parametrize("scheme", ["postgresql", "mysql+pymysql", "oracle"])
def test_a_database_without_its_driver_names_the_package(attn: Attn, tmp_path: Path, scheme: str) -> None:
    database = f"{scheme}://somebody:made-up-for-tests@127.0.0.1:9/db"
    done = attn("serve", "--port", "0", "--root", str(tmp_path), "--database", database)
    is_one_error(done, "needs the Python package ", "which is not installed: install it", "--database")
    assert "made-up" not in done.err


@pytest.mark.parametrize("how", ["removed", "renamed", "made anew"])
def test_a_home_that_is_gone_takes_nothing_in(tmp_path: Path, how: str) -> None:
    root = tmp_path / "runs"
    (root / ".service").mkdir(parents=True)
    with serving(root, f"sqlite:///{root}/.service/jobs.db") as (client, supervisor):
        assert client.post("/jobs", json={"id": "before", **ASKED}).status_code == 201
        root.rename(tmp_path / "elsewhere")
        if how == "removed":
            shutil.rmtree(tmp_path / "elsewhere")
        if how == "made anew":
            (root / ".service").mkdir(parents=True)
            with serving(root, f"sqlite:///{root}/.service/jobs.db") as (other, _):
                assert other.post("/jobs", json={"id": "x", **ASKED}).status_code == 201
        for method, path in (
            ("POST", "/jobs"),
            ("GET", "/jobs"),
            ("GET", "/jobs/before"),
            ("POST", "/jobs/before/cancel"),
        ):
            answer = client.request(method, path, json={"id": "x", **ASKED})
            assert (answer.status_code, answer.json()["code"]) == (503, "storage"), answer.text
            assert "removed or replaced" in answer.json()["detail"]
        with pytest.raises(StateDirLostError):
            supervisor.tick()
        assert client.get("/healthz").status_code == 200
        if how == "renamed":
            (tmp_path / "elsewhere").rename(root)
            assert client.get("/jobs/before").json()["state"] == "queued"


@pytest.mark.parametrize("content", [None, b"", b"not a database" * 1000])
def test_nothing_is_written_into_a_table_that_is_gone(tmp_path: Path, content: bytes | None) -> None:
    """What is told to be taken in is in the file that the next service opens."""
    places = [tmp_path / f"jobs.db{part}" for part in ("", "-wal", "-shm")]
    (kept := tmp_path / "kept").mkdir()
    with serving(tmp_path, f"sqlite:///{places[0]}") as (client, _):
        assert client.post("/jobs", json={"id": "before", **ASKED}).status_code == 201
        for file in places:
            file.rename(kept / file.name)
        if content is not None:
            places[0].write_bytes(content)
        answer = client.post("/jobs", json={"id": "x", **ASKED})
        assert (answer.status_code, answer.json()["code"]) == (503, "storage"), answer.text
        for file in places:
            file.unlink(missing_ok=True)
        for file in kept.iterdir():
            file.rename(tmp_path / file.name)
        assert client.post("/jobs", json={"id": "x", **ASKED}).status_code == 201
        assert client.get("/jobs/before").json()["state"] == "queued"


def test_a_table_that_was_put_in_the_others_place_is_taken(tmp_path: Path) -> None:
    other = JobTable(f"sqlite:///{tmp_path}/other.db")
    other.add(Job(id="other", kind="evaluate", target="absent", request="r"))
    other.close()
    with serving(tmp_path, f"sqlite:///{tmp_path}/jobs.db") as (client, _):
        for part in ("-wal", "-shm"):
            (tmp_path / f"jobs.db{part}").unlink(missing_ok=True)
        (tmp_path / "other.db").replace(tmp_path / "jobs.db")
        assert client.post("/jobs", json={"id": "x", **ASKED}).status_code == 201
        assert [job["id"] for job in client.get("/jobs").json()["jobs"]] == ["x", "other"]


def test_a_table_of_something_else_is_refused(tmp_path: Path, attn: Attn) -> None:
    for number, statement in enumerate(
        ("CREATE TABLE attn_jobs (id TEXT, sort TEXT)", "CREATE TABLE attn_jobs (a INTEGER PRIMARY KEY)",
         "CREATE VIEW attn_jobs AS SELECT 1 AS id")
    ):  # fmt: skip
        file = tmp_path / f"{number}.db"
        with contextlib.closing(sqlite3.connect(file)) as connection:
            connection.execute(statement)
        done = attn("serve", "--port", "0", "--root", str(tmp_path / "runs"), "--database", f"sqlite:///{file}")
        is_one_error(done, "database", "--database")
    (tmp_path / "damaged.db").write_bytes(bytes(range(256)) * 32)
    done = attn(
        "serve", "--port", "0", "--root", str(tmp_path / "runs"), "--database", f"sqlite:///{tmp_path}/damaged.db"
    )
    is_one_error(done, "is damaged", "restore a copy")
