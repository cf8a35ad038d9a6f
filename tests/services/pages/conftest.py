"""A service over a few small runs, and browsers that are logged in to it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from services.api import create_app
from services.supervisor import Supervisor
from services.table import Job, JobTable

TOKENS = {f"{role}-token-of-the-test": role for role in ("read", "submit", "admin")}
ORIGIN = "http://127.0.0.1"
METRICS = {"train/loss": 0.5, "val/mean_ap": 0.75, "val/loss": 0.6}


class Browser(TestClient):
    """Asks as a browser does: for pages, with cookies, and with its origin in every form."""

    def __init__(self, app: Any) -> None:
        super().__init__(app, base_url=ORIGIN, follow_redirects=False, headers={"Accept": "text/html,*/*;q=0.8"})

    def log_in(self, role: str, **fields: str) -> Any:
        token = next(token for token, its_role in TOKENS.items() if its_role == role)
        return self.post("/login", data={"token": token, **fields}, headers={"Origin": ORIGIN})

    def csrf(self, path: str = "/") -> str:
        """The text that a page's forms carry."""
        match = re.search(r'name="csrf" (?:content|value)="([0-9a-f]{64})"', self.get(path).text)
        assert match is not None
        return match[1]


def write_run(root: Path, name: str, **fields: Any) -> Path:
    """A run's folder with its state."""
    folder = root / name
    folder.mkdir(parents=True)
    state = {"id": name, "kind": "train", "state": "done", "started": 1_700_000_000.0, "seconds": 60.0, **fields}
    (folder / "run.json").write_text(json.dumps(state))
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with a training that is done and a job that waits."""
    folder = tmp_path / "runs"
    about = {"what": "gain", "data": "scenes train", "epochs": 3}
    write_run(folder, "first", about=about, epoch=3, step=30, metrics=METRICS)
    return folder


@pytest.fixture
def supervisor(root: Path, tmp_path: Path) -> Iterator[Supervisor]:
    table = JobTable(f"sqlite:///{tmp_path / 'jobs.db'}")
    table.add(Job(id="waiting", kind="evaluate", target="first", request="r", submitted=1_700_000_300.0))
    one = Supervisor(str(root), tmp_path / "home", table)
    yield one
    one.stop()
    table.close()


@pytest.fixture
def browse(supervisor: Supervisor) -> Iterator[Callable[..., Browser]]:
    """Opens browsers; with a role they are logged in."""
    app = create_app(supervisor.root, supervisor, tokens=TOKENS)
    browsers: list[Browser] = []

    def open_one(role: str | None = None) -> Browser:
        browsers.append(Browser(app))
        if role is not None:
            assert browsers[-1].log_in(role).status_code == 303
        return browsers[-1]

    yield open_one
    for one in browsers:
        one.close()
