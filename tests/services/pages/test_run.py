"""The page of one run: what it shows, its curves and pictures, and what its buttons do."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from services.supervisor import Supervisor
from services.table import Job
from tests.services.pages.conftest import ORIGIN, Browser, write_run

Browse = Callable[..., Browser]
HOSTILE = "</pre><script>alert(1)</script><svg onload=alert(1)>"
LINES = (
    '{"epoch": 1, "step": 10, "seconds": 2.5, "train/loss": 0.9, "val/mean_ap": 0.5}\n'
    '{"epoch": 2, "step": 20, "seconds": 2.5, "train/loss": NaN, "val/mean_ap": 0.6}\n'
    "not JSON\n[1]\n"
    '{"epoch": 2, "step": 20, "seconds": 2.5, "train/loss": 0.7, "val/mean_ap": 0.65, "note": "text"}\n'
)


def png(shade: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (4, 3), (shade, shade, shade)).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def first(root: Path) -> Path:
    """The folder of a training with figures, previews and a log."""
    folder = root / "first"
    (folder / "metrics.jsonl").write_text(LINES)
    (folder / "config.yaml").write_text(f"kind: train\nmethod:\n  name: gain\nmodel:\n  name: {json.dumps(HOSTILE)}\n")
    (folder / "preview" / "image 1").mkdir(parents=True)
    for epoch in (1, 2):
        (folder / "preview" / "image 1" / f"epoch-{epoch:04}.png").write_bytes(png(epoch))
    (folder / "sheet.png").write_bytes(png(9))
    (folder / "job.log").write_text(f"begins\n{HOSTILE}\nhalf a li")
    return folder


def test_a_run_shows_what_is_known_of_it(browse: Browse, first: Path) -> None:
    text = browse("read").get("/view/runs/first").text
    assert "3/3 epochs" in text
    assert re.search(r"<dt>val/mean_ap</dt><dd>75.0 %</dd>", text)
    assert "gain · scenes train" in text
    assert "epoch-0002.png" in text
    assert "data-epochs='[1, 2]'" in text
    assert "begins" in text
    assert "attn repro" in text
    assert "data-events" not in text, "it has ended"
    assert "Cancel" not in text


def test_what_a_run_wrote_is_text(browse: Browse, first: Path) -> None:
    text = browse("read").get("/view/runs/first", params={"with": HOSTILE}).text
    assert HOSTILE not in text
    assert "<svg" not in text
    assert not re.findall(r"<script(?![^>]*\bsrc=)", text)
    assert text.count("&lt;svg onload=alert(1)&gt;") >= 3, "in the config, the log and the form"


def test_curves_are_the_figures_of_each_epoch(browse: Browse, first: Path) -> None:
    answer = browse("read").get("/view/runs/first/curves").json()
    assert answer == {
        "run": "first",
        "series": {"train/loss": [[1, 0.9], [2, 0.7]], "val/mean_ap": [[1, 0.5], [2, 0.65]]},
    }


def test_pictures_are_kept_by_the_browser(browse: Browse, first: Path) -> None:
    browser = browse("read")
    path = "/view/runs/first/picture/preview/image%201/epoch-0001.png"
    answer = browser.get(path)
    assert (answer.content, answer.headers["content-type"]) == (png(1), "image/png")
    again = browser.get(path, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert browser.get("/view/runs/first/picture/sheet.png").content == png(9)


@pytest.mark.parametrize(
    "name",
    ["run.json", "job.log", "preview", "preview/../run.json", "preview/%2e%2e/sheet.png", "preview/link.png",
     "preview/text.png", "preview/folder.png", "store/base.png", "preview/none.png", "preview/%00.png", "/etc/passwd"],
)  # fmt: skip
def test_no_other_file_is_a_picture(browse: Browse, first: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "outside.png").write_bytes(png(3))
    (first / "store").mkdir()
    (first / "store" / "base.png").write_bytes(png(3))
    os.symlink(tmp_path / "outside.png", first / "preview" / "link.png")
    (first / "preview" / "text.png").write_text("<svg>")
    (first / "preview" / "folder.png").mkdir()
    assert browse("read").get(f"/view/runs/first/picture/{name}").status_code == 404


@pytest.mark.parametrize("name", ["none", "%2e%2e", "..%2fhome", "mlflow.db", "a" * 200, "%00"])
def test_what_is_no_run_has_no_page(browse: Browse, name: str) -> None:
    browser = browse("read")
    for path in (f"/view/runs/{name}", f"/view/runs/{name}/curves", f"/events/runs/{name}"):
        assert browser.get(path).status_code == 404


def test_a_damaged_run_has_a_page_that_says_so(browse: Browse, first: Path) -> None:
    (first / "run.json").write_text("{")
    answer = browse("read").get("/view/runs/first")
    assert answer.status_code == 200
    assert "is damaged" in answer.text


def test_a_job_without_a_run_has_a_page_and_is_cancelled_and_resumed(browse: Browse, supervisor: Supervisor) -> None:
    browser = browse("submit")
    page = browser.get("/view/runs/waiting").text
    assert "it is about to start" in page
    assert "Resume" not in page
    form = {"csrf": browser.csrf("/view/runs/waiting")}
    answer = browser.post("/view/runs/waiting/cancel", data=form)
    assert (answer.status_code, answer.headers["location"]) == (303, "/view/runs/waiting")
    assert "cancelled" in browser.get("/view/runs/waiting").text
    assert browser.post("/view/runs/waiting/resume", data=form).status_code == 303
    job = supervisor.table.get("waiting")
    assert job is not None
    assert job.state == "queued"
    supervisor.table.end(job, "done")
    assert browser.post("/view/runs/waiting/cancel", data=form).status_code == 409


def test_who_may_not_submit_sees_no_button_and_cannot_press_it(browse: Browse) -> None:
    browser = browse("read")
    assert "<button>Cancel" not in browser.get("/view/runs/waiting").text
    form = {"csrf": browser.csrf()}
    assert browser.post("/view/runs/waiting/cancel", data=form).status_code == 403
    submitter = browse("submit")
    form = {"csrf": submitter.csrf(), "now": "1"}
    assert submitter.post("/view/runs/waiting/cancel", data=form).status_code == 403, "killing needs the role admin"


def test_without_a_service_nothing_can_be_changed(first: Path) -> None:
    from services.api import create_app

    with Browser(create_app(str(first.parent), tokens={"t" * 20: "admin"})) as browser:
        browser.post("/login", data={"token": "t" * 20}, headers={"Origin": ORIGIN})
        assert browser.get("/view/runs/first").status_code == 200
        assert browser.post("/view/runs/first/cancel", data={"csrf": browser.csrf()}).status_code in (404, 405)


def test_a_run_that_goes_on_is_followed(browse: Browse, root: Path, supervisor: Supervisor) -> None:
    write_run(root, "waiting", state="running", epoch=1, about={"what": "gain", "data": "scenes train", "epochs": 4})
    job = supervisor.table.get("waiting")
    assert job is not None
    supervisor.table.change("waiting", ["queued"], state="running", started=1.0)
    browser = browse("admin")
    text = browser.get("/view/runs/waiting").text
    (path,) = re.findall(r'data-events="(/events/runs/waiting\?known=\w{16})"', text)
    assert re.search(r"<button>Cancel</button>.*Kill", text)
    assert "1/4 epochs" in text
    (root / "waiting" / "metrics.jsonl").write_text(LINES)
    (again,) = re.findall(r'data-events="([^"]+)"', browser.get("/view/runs/waiting").text)
    assert again != path
    assert isinstance(job, Job)
