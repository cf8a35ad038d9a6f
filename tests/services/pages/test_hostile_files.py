"""Files of a run that were made to show what lies elsewhere, or to break the pages of all others."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobs.runs.reported import finite
from tests.services.pages.conftest import Browser, write_run

SECRET = "SECRET-OUTSIDE"
HUGE = int("1" + 400 * "0")


@pytest.mark.parametrize("name", ["config.yaml", "job.log", "best.yaml", "metrics.jsonl"])
def test_no_link_leads_out_of_a_run(browse: Callable[..., Browser], root: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "outside").write_text(f'{{"epoch": 1, "{SECRET}": 1.0}}\n')
    folder = write_run(root, "linked")
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(tmp_path / "outside")
    browser = browse("admin")
    for page in ("", "/curves", "/best.yaml"):
        assert SECRET not in browser.get(f"/view/runs/linked{page}").text


@pytest.mark.parametrize("name", ["time", "seconds_left", "images_per_second", "step", "steps"])
def test_a_number_that_is_too_large_hides_no_run(browse: Callable[..., Browser], root: Path, name: str) -> None:
    folder = write_run(root, "huge", state="running")
    report = {"kind": "step", "step": 3, "steps": 9, "time": 1.0, "seconds_left": 2.0, "images_per_second": 3.0}
    (folder / "progress.json").write_text(json.dumps({**report, name: HUGE}))
    (folder / "metrics.jsonl").write_text(json.dumps({"epoch": 1, "train/loss": HUGE, "val/loss": 0.5}) + "\n")
    browser = browse("read")
    assert "first" in browser.get("/").text
    assert browser.get("/view/runs/huge").status_code == 200
    assert browser.get("/view/runs/huge/curves").json()["series"] == {"val/loss": [[1, 0.5]]}


@pytest.mark.parametrize(
    ("value", "expected"), [(2, 2.0), (0.5, 0.5), (HUGE, None), (float("nan"), None), (True, None), ("3", None)]
)
def test_a_number_of_a_file(value: Any, expected: float | None) -> None:
    assert finite(value) == expected
