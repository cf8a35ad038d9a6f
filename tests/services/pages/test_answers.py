"""What every answer to a browser has."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from services.pages.answers import POLICY
from tests.services.pages.conftest import Browser

Browse = Callable[..., Browser]


def test_nothing_runs_or_is_loaded_but_what_the_service_itself_has(browse: Browse) -> None:
    browser = browse("admin")
    for path in ("/", "/login", "/nothing", "/jobs", "/static/page.css"):
        answer = browser.get(path)
        assert answer.headers["content-security-policy"] == POLICY
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert "unsafe" not in POLICY
    assert "default-src 'none'" in POLICY


def test_an_error_is_a_page_for_a_browser_and_a_problem_for_others(browse: Browse) -> None:
    browser = browse("read")
    page = browser.get("/nothing")
    assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "Not Found" in page.text
    problem = browser.get("/nothing", headers={"Accept": "application/json"})
    assert problem.headers["content-type"] == "application/problem+json"
    refused = browser.delete("/jobs", headers={"X-CSRF-Token": browser.csrf()})
    assert refused.status_code == 403


def test_static_files_are_kept_by_browsers_until_they_change(browse: Browse) -> None:
    browser = browse()
    (address,) = re.findall(r'href="(/static/page.css\?v=\w+)"', browser.get("/login").text)
    answer = browser.get(address)
    assert answer.status_code == 200, "the log-in page needs it"
    assert "immutable" in answer.headers["cache-control"]
    again = browser.get("/static/page.css", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert browser.get("/static/page.css?v=old").headers["cache-control"] == "no-cache"
    plain = browser.get(address, headers={"Accept-Encoding": "identity"})
    assert (plain.content, "content-encoding" in plain.headers) == (answer.content, False)


@pytest.mark.parametrize("name", ["..%2fsite.py", "%2e%2e", "site.py", "page.css%00", "page", ""])
def test_no_other_file_is_static(browse: Browse, name: str) -> None:
    assert browse().get(f"/static/{name}").status_code in (303, 404)


def test_no_page_names_another_server(browse: Browse) -> None:
    browser = browse("admin")
    for path in ("/", "/login", "/nothing"):
        text = browser.get(path).text
        assert not re.findall(r"""(?:src|href|action)=["']?(?:https?:)?//""", text)
        assert not re.findall(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=", text)
