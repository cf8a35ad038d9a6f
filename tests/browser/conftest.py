"""Chromium as Debian ships it, over a service with a few runs. Playwright's own browsers are not fetched."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

from attn import store
from attn.data.sources import ScenesConfig
from services.api import create_app
from services.connections import Limits
from services.supervisor import Supervisor
from services.table import Job, JobTable
from tests.hostile.serving import serving
from tests.services.pages.conftest import TOKENS, write_run

SIZE, COUNT = 32, 4
PATIENCE = 60_000
"""Milliseconds: beside other work a page takes several times as long."""
LINES = "".join(
    f'{{"epoch": {epoch}, "step": {epoch}, "train/loss": {1 / epoch}, "val/mean_ap": {epoch / 10}}}\n'
    for epoch in (1, 2, 3)
)
HOSTILE = "<img src=x onerror=\"document.title='taken'\">"


@pytest.fixture(scope="session")
def chromium() -> str:
    """The program of the browser, which `.ci/install-chromium` brings."""
    program = shutil.which("chromium")
    if program is None:
        # A browser is no Python package: set-up cannot bring it, and on Debian only root can, as `.ci/run` does. What
        # the service sends is tested without one; that it works in a browser can only be seen in one.
        pytest.skip("no chromium: on Debian `bash .ci/install-chromium` as root")
    return program


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    """A browser that ends with its file of tests: while it is up, an event loop runs, and no other can be begun."""
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        # Chromium's sandbox does not work for root, as whom tests run in a container.
        one = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield one
        one.close()


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("browser")


@pytest.fixture(scope="session")
def supervisor(folder: Path) -> Iterator[Supervisor]:
    """Runs: one that is done with a store, one of hostile names, and one whose driver goes on."""
    root = folder / "runs"
    about = {"what": HOSTILE, "data": "scenes train", "epochs": 3}
    first = write_run(root, "first", about=about, epoch=3, metrics={"val/mean_ap": 0.3}, error=HOSTILE)
    (first / "metrics.jsonl").write_text(LINES)
    (first / "job.log").write_text(HOSTILE + "\n")
    (first / "config.yaml").write_text(f"kind: train\ndata:\n  source: scenes\n  count: {COUNT}\n  size: {SIZE}\n")
    write_maps(first / "store")
    table = JobTable(f"sqlite:///{folder / 'jobs.db'}")
    one = Supervisor(str(root), folder / "home", table)
    table.add(Job(id="long", kind="train", target="scenes_gain", request="r"))
    yield one
    one.stop()
    table.close()


def write_maps(place: Path) -> None:
    """A store of two versions: the left half of each image, then all of it."""
    source: Any = ScenesConfig(count=COUNT, size=SIZE).build()
    rows = [(record.image_id, label) for record in source.records for label in record.labels]
    maps = store.create(str(place), rows=rows, grid=(4, 4), classes=source.classes)
    session = maps.begin("first", from_version=None)
    for epoch, columns in enumerate((slice(0, 2), slice(2, 4))):
        writer = session.writer(rank=0)
        for image_id, label in rows:
            map_hw = np.zeros((4, 4), np.float32)
            map_hw[:, columns] = 1
            writer.add(image_id, label, map_hw)
        session.publish(session.commit(epoch=epoch, deltas=[writer.seal()], expected=rows))


@pytest.fixture(scope="session")
def address(supervisor: Supervisor) -> Iterator[str]:
    app = create_app(supervisor.root, supervisor, tokens=TOKENS)
    with serving(app, Limits()) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def visit(browser: Browser, address: str) -> Iterator[Callable[..., Page]]:
    """Opens a page, logged in with a role; at the end of the test no page had an error or asked another server."""
    faults: list[str] = []
    contexts: list[Any] = []

    def console(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            faults.append(message.text)

    def asked(request: Request) -> None:
        if not request.url.startswith(address):
            faults.append(f"asked {request.url}")

    def open_one(path: str, role: str = "admin", **options: Any) -> Page:
        contexts.append(browser.new_context(**options))
        page: Page = contexts[-1].new_page()
        page.set_default_timeout(PATIENCE)
        page.on("console", console)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", asked)
        page.goto(address + path)
        page.get_by_label("Token").fill(next(token for token, its_role in TOKENS.items() if its_role == role))
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url(address + path)
        return page

    yield open_one
    for one in contexts:
        one.close()
    assert not faults
