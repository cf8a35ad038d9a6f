"""The pages as a person sees them: without errors, with what others wrote as text, live, and with sliders that work."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from services.supervisor import Supervisor
from tests.browser.conftest import HOSTILE, LINES
from tests.services.pages.conftest import write_run

Visit = Callable[..., Page]
LAST = [252, 255, 164]
"""The last colour of inferno."""


@pytest.mark.parametrize("path", ["/", "/view/runs/first", "/view/runs/long", "/view/maps/first"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_each_page_loads_whole_and_shows_no_markup_of_others(visit: Visit, path: str, scheme: str) -> None:
    page = visit(path, color_scheme=scheme, viewport={"width": 390, "height": 800})
    page.wait_for_load_state("load")
    assert page.title().endswith("attn")
    assert page.title() != "taken"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "on a phone nothing lies outside"
    if path == "/view/runs/first":
        assert HOSTILE in page.locator("main").inner_text()


def test_the_list_is_filtered_as_one_types(visit: Visit) -> None:
    page = visit("/")
    expect(page.locator("td.id a")).to_have_count(2)
    page.get_by_label("Search").fill("fir")
    expect(page.locator("td.id a")).to_have_text(["first"])
    assert page.url.endswith("q=fir&sort=started&up=0")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.name") == "state", "the field keeps its place for the keyboard"


def test_a_run_is_followed_to_its_end(visit: Visit, supervisor: Supervisor) -> None:
    root = Path(supervisor.root)
    about = {"what": "gain", "data": "scenes train", "epochs": 3}
    folder = write_run(root, "long", state="running", epoch=1, about=about)
    job = supervisor.table.get("long")
    assert job is not None
    supervisor.table.change("long", ["queued"], state="running", started=time.time())
    runs, page = visit("/"), visit("/view/runs/long", role="submit")
    expect(page.get_by_role("button", name="Cancel")).to_be_visible()
    (folder / "metrics.jsonl").write_text(LINES)
    expect(page.locator(".chart")).to_have_count(2)
    (folder / "run.json").write_text(
        json.dumps(
            {
                **json.loads((folder / "run.json").read_text()),
                "epoch": 3,
                "state": "done",
                "metrics": {"val/mean_ap": 0.5},
            }
        )
    )
    supervisor.table.end(job, "done")
    expect(page.locator("#state")).to_have_text("done")
    expect(page.get_by_text("3/3 epochs")).to_be_visible()
    expect(page.locator("#scores")).to_be_visible()
    expect(page.get_by_role("button", name="Cancel")).to_have_count(0)
    expect(runs.locator("tr", has_text="long").locator(".state")).to_have_text("done")


def test_who_may_read_alone_sees_no_buttons(visit: Visit) -> None:
    page = visit("/view/runs/first", role="read")
    expect(page.get_by_role("button", name="Cancel")).to_have_count(0)
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("Token")).to_be_visible()


def pixels(page: Page, canvas: str = "#first") -> list[int]:
    """Red, green and blue in the middle of the left and of the right half of a canvas."""
    script = """(canvas) => [0.25, 0.75].flatMap((x) => [...canvas.getContext("2d").getImageData(
        Math.floor(x * canvas.width), Math.floor(canvas.height / 2), 1, 1).data].slice(0, 3))"""
    return page.locator(canvas).evaluate(script)


def slide(page: Page, label: str, value: str) -> None:
    page.get_by_label(label).first.fill(value)


def test_sliders_change_what_is_seen(visit: Visit) -> None:
    page = visit("/view/maps/first")
    page.locator(".tile").first.click()
    page.locator("#first[data-ready]").wait_for()
    slide(page, "Opacity", "0")
    bare = pixels(page)
    slide(page, "Opacity", "1")
    assert pixels(page) == LAST + LAST
    slide(page, "Threshold", "1")
    assert pixels(page) == bare
    slide(page, "Threshold", "0.3")
    slide(page, "Version", "0")
    page.locator("#first[data-ready*='version=1']").wait_for()
    assert pixels(page) == LAST + bare[3:]


def test_one_cursor_is_over_both_runs(visit: Visit) -> None:
    page = visit("/view/maps/first")
    page.locator(".tile").first.click()
    page.get_by_label("Beside it").fill("first")
    page.get_by_role("button", name="Show").click()
    page.locator("#second[data-ready]").wait_for()
    page.locator("#first[data-ready]").wait_for()
    slide(page, "Version", "0")
    page.locator("#first[data-ready*='version=1']").wait_for()
    box = page.locator("#first").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 0.75 * box["width"], box["y"] + 0.5 * box["height"])
    expect(page.locator("#cursor")).to_have_text("0.00 | 1.00")
    expect(page.locator("[data-cross]:not([hidden])")).to_have_count(2)
    page.locator("#second").focus()
    for _ in range(30):
        page.keyboard.press("ArrowLeft")
    expect(page.locator("#cursor")).to_have_text("1.00 | 1.00")


def test_curves_are_read_by_the_keyboard(visit: Visit) -> None:
    page = visit("/view/runs/first")
    chart = page.get_by_role("img", name="val/mean_ap")
    chart.focus()
    expect(page.locator(".chart", has=chart).locator("output")).to_have_text("3: 0.3")
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".chart", has=chart).locator("output")).to_have_text("2: 0.2")
