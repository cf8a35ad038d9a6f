"""Generated requests for every operation of the service; schemathesis holds each answer against `/openapi.json`."""

from __future__ import annotations

__all__ = ["attack_api", "command"]

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from services.api import create_app
from services.connections import Limits
from services.runner import DriverStatus, Ended, Running
from services.supervisor import Supervisor
from services.table import Job, JobTable
from tests.hostile.serving import serving

TOKEN = "token-of-the-attack-on-the-api"
CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
    "response_schema_conformance", "unsupported_method", "allow_header_conformance", "ignored_auth",
)  # fmt: skip
HANGS_SECONDS = 30
"""A request that takes longer counts as one that hangs."""
RUNS = {
    "good": {"id": "good", "kind": "train", "state": "done", "started": 5.0, "metrics": {"a": 0.5, "b": float("nan")}},
    "broken": {},
}


class Failing:
    """In place of drivers, which would take seconds each: every job has failed as soon as somebody looks at it."""

    def unready(self) -> str | None:
        return None

    def start(self, job: Job) -> Running:
        return Running()

    def poll(self, job: Job) -> DriverStatus:
        return Ended("failed", "no job is run here")

    def request_stop(self, job: Job) -> bool:
        return True

    def kill(self, job: Job) -> None: ...

    def cleanup(self, job: Job) -> None: ...


@contextlib.contextmanager
def service(folder: Path) -> Iterator[str]:
    """A service with some runs, whose jobs fail at once; gives its URL."""
    for name, state in RUNS.items():
        (folder / "runs" / name).mkdir(parents=True)
        (folder / "runs" / name / "run.json").write_text(json.dumps(state))
    table = JobTable(f"sqlite:///{folder / 'jobs.db'}", max_queued=20)
    supervisor = Supervisor(str(folder / "runs"), folder / "home", table)
    supervisor.runners[None] = Failing()
    supervisor.start()
    try:
        app = create_app(supervisor.root, supervisor, tokens={TOKEN: "admin"})
        with serving(app, Limits()) as port:
            yield f"http://127.0.0.1:{port}"
    finally:
        supervisor.stop()
        table.close()


def command(url: str, *, examples: int, seconds: int | None, seed: int) -> list[str]:
    """The command line of schemathesis against a service.

    Args:
        examples: Of each operation and phase.
        seconds: How long to go on; None: until the examples are done.
    """
    limit = [] if seconds is None else ["--max-time", str(seconds)]
    return [
        sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()",
        "run", f"{url}/openapi.json", "--header", f"Authorization: Bearer {TOKEN}", "--checks", ",".join(CHECKS),
        "--max-examples", str(examples), "--seed", str(seed), "--request-timeout", str(HANGS_SECONDS),
        "--continue-on-failure", "--no-color", *limit,
    ]  # fmt: skip


def attack_api(*, examples: int, seconds: int | None, seed: int) -> tuple[int, str]:
    """The exit status of schemathesis, 0 where every answer was valid, and its report."""
    with tempfile.TemporaryDirectory(prefix="attn-attack-") as folder, service(Path(folder)) as url:
        line = command(url, examples=examples, seconds=seconds, seed=seed)
        done = subprocess.run(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder)
    return done.returncode, done.stdout
