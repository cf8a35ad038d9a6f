"""The page of all runs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.services.pages.conftest import Browser, write_run

Browse = Callable[..., Browser]
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>'\"&{{ 7 * 7 }}"


def names(text: str) -> list[str]:
    """The runs of a page in its order."""
    return re.findall(r'<td class="id">(?:<a [^>]*>)?([^<]+)', text)


@pytest.fixture
def more(root: Path) -> Path:
    """Further runs: one that failed, and an evaluation with its protocol."""
    write_run(root, "second", state="failed", started=1_700_000_100.0, seconds=5.0, error=HOSTILE,
              about={"what": "oaa", "data": "voc train_aug", "epochs": 15}, epoch=1)  # fmt: skip
    scores = write_run(root, "third", kind="evaluate", started=1_700_000_200.0, seconds=7.0,
                       about={"what": "of first", "data": "scenes val"}, metrics={"seed_miou": 0.4321})  # fmt: skip
    protocol = {"source": "scenes", "split": "val", "images": 12, "scored": "maps"}
    score = {"name": "seed_miou", "value": 0.4321, "protocol": protocol, "hash": "0123456789abcdef"}
    (scores / "scores.json").write_text(json.dumps({"scores": {"seed_miou": score}}))
    return root


def test_runs_and_waiting_jobs_are_listed(browse: Browse, more: Path) -> None:
    text = browse("read").get("/").text
    assert names(text) == ["waiting", "third", "second", "first"]
    assert "3/3 epochs" in text
    assert "val/mean_ap <b>75.0</b>" in text
    assert "of epoch 3" in text
    assert "seed_miou <b>43.2</b>" in text
    assert "scenes val, 12 images, maps; protocol 01234567" in text


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("q=GAIN", ["first"]),
        ("q=oaa+voc", ["second"]),
        ("q=oaa+scenes", []),
        ("state=done", ["third", "first"]),
        ("kind=evaluate", ["waiting", "third"]),
        ("state=none-such", []),
        ("sort=name&up=1", ["first", "second", "third", "waiting"]),
        ("sort=time&up=1", ["second", "third", "first", "waiting"]),
        ("sort=val/mean_ap", ["first", "waiting", "third", "second"]),
        ("sort=nothing&up=7", ["waiting", "third", "second", "first"]),
    ],
)
def test_the_list_is_filtered_and_sorted(browse: Browse, more: Path, query: str, shown: list[str]) -> None:
    assert names(browse("read").get(f"/?{query}").text) == shown


def test_what_others_wrote_is_text(browse: Browse, more: Path) -> None:
    text = browse("read").get("/", params={"q": HOSTILE}).text + browse("read").get("/").text
    assert HOSTILE not in text
    assert "<img src=x" not in text
    assert "<script>" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "{{ 7 * 7 }}" in text


def test_a_damaged_run_does_not_hide_the_others(browse: Browse, more: Path) -> None:
    (more / "second" / "run.json").write_text("{")
    text = browse("read").get("/").text
    assert names(text) == ["waiting", "third", "first", "second"]
    assert "broken" in text


def test_the_first_page_is_small(browse: Browse, root: Path) -> None:
    for number in range(100):
        write_run(root, f"a-run-with-a-rather-long-name-{number}", about={"what": "gain", "data": "scenes train"})
    browser = browse("read")
    answer = browser.get("/")
    scripts = re.findall(r'(?:src|href)="(/static/[^"]+)"', answer.text)
    sizes = [len(browser.get(path).content) for path in sorted(set(scripts))]
    assert len(answer.content) + sum(sizes) < 150_000
