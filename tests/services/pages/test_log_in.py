"""Logging in to the pages: the cookie, the forms, and what others can do with either."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient

from services import sessions
from services.api import create_app
from services.sessions import SECONDS
from tests.services.pages.conftest import ORIGIN, TOKENS, Browser

Browse = Callable[..., Browser]


def test_who_is_not_logged_in_is_led_to_the_log_in_and_back(browse: Browse) -> None:
    browser = browse()
    answer = browser.get("/?q=gain&state=done")
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=%2F%3Fq%3Dgain%26state%3Ddone")
    page = browser.get(answer.headers["location"])
    assert 'name="next" value="/?q=gain&amp;state=done"' in page.text
    answer = browser.log_in("read", next="/?q=gain&state=done")
    assert (answer.status_code, answer.headers["location"]) == (303, "/?q=gain&state=done")
    assert "first" in browser.get("/").text


def test_the_cookie_is_for_this_service_alone_and_has_no_token(browse: Browse) -> None:
    cookie = browse().log_in("admin").headers["set-cookie"]
    name, _, rest = cookie.partition("=")
    assert name == "attn-80", "cookies do not tell ports apart"
    assert [part.strip().lower() for part in rest.split(";")[1:]] == [
        "httponly", f"max-age={SECONDS}", "path=/", "samesite=strict",
    ]  # fmt: skip
    assert not [token for token in TOKENS if token in cookie]


@pytest.mark.parametrize("others", ['theme={"a":1}; ', "a b=c; ", 'x="; ', "=; ;; "])
def test_cookies_of_other_services_of_the_host_do_no_harm(browse: Browse, others: str) -> None:
    browser = browse("read")
    own = f"attn-80={browser.cookies['attn-80']}"
    browser.cookies.clear()
    for cookies in (f"{others}{own}", f"{own}; {others}"):
        assert "first" in browser.get("/", headers={"Cookie": cookies}).text


def test_a_wrong_token_and_a_form_of_another_site_log_nobody_in(browse: Browse) -> None:
    browser, token = browse(), next(iter(TOKENS))
    for given, origin in (("wrong", ORIGIN), ("", ORIGIN), (token, "http://attacker.example"), (token, "null")):
        answer = browser.post("/login", data={"token": given}, headers={"Origin": origin})
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers
    answer = browser.post("/login", data={"token": token})
    assert (answer.status_code, "set-cookie" in answer.headers) == (403, False), "browsers send where a form is from"


@pytest.mark.parametrize("target", ["//attacker.example", "https://attacker.example", "/\\attacker.example", "/a\r\nb"])
def test_the_log_in_leads_to_no_other_site(browse: Browse, target: str) -> None:
    assert browse().log_in("read", next=target).headers["location"] == "/"


def test_a_cookie_that_was_changed_or_has_expired_or_is_of_another_token_is_none(
    browse: Browse, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = browse("read")
    value = browser.cookies["attn-80"]
    later, nonce, signature = value.split(".")
    other = create_app("absent", tokens={"another-token-of-the-test": "admin"})
    for forged in (f"{int(later) + 1}.{nonce}.{signature}", f"{later}.{nonce}.{'0' * 64}", "x", '"', value + "0"):
        browser.cookies.clear()
        browser.cookies["attn-80"] = forged
        assert browser.get("/").status_code == 303
    with Browser(other) as elsewhere:
        elsewhere.cookies["attn-80"] = value
        assert elsewhere.get("/").status_code == 303
    browser.cookies.clear()
    browser.cookies["attn-80"] = value
    assert browser.get("/").status_code == 200
    now = time.time()
    monkeypatch.setattr(sessions.time, "time", lambda: now + SECONDS + 1)
    assert browser.get("/").status_code == 303


def test_a_session_changes_nothing_without_the_text_of_its_forms(browse: Browse) -> None:
    browser, other = browse("admin"), browse("admin")
    path = "/jobs/waiting/cancel"
    for headers in ({}, {"X-CSRF-Token": "0" * 64}, {"X-CSRF-Token": other.csrf()}, {"X-CSRF-Token": "ü".encode()}):
        assert browser.post(path, headers=headers).status_code == 403
    for fields in ({}, {"csrf": ""}, {"csrf": other.csrf()}):
        assert browser.post("/logout", data=fields).status_code == 403
    assert browser.post(path, headers={"X-CSRF-Token": browser.csrf()}).json()["state"] == "cancelled"


def test_roles_of_sessions_are_those_of_their_tokens(browse: Browse) -> None:
    browser = browse("read")
    answer = browser.post("/jobs/waiting/cancel", headers={"X-CSRF-Token": browser.csrf()})
    assert answer.status_code == 403
    assert "role submit" in answer.text


def test_a_token_in_the_header_is_what_counts(browse: Browse) -> None:
    browser = browse("admin")
    assert browser.get("/jobs", headers={"Authorization": "Bearer wrong"}).status_code == 303
    assert browser.get("/jobs", headers={"Authorization": "Bearer wrong", "Accept": "*/*"}).status_code == 401


def test_who_logs_out_is_out(browse: Browse) -> None:
    browser = browse("read")
    answer = browser.post("/logout", data={"csrf": browser.csrf()})
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert browser.get("/").status_code == 303


def test_without_tokens_nobody_logs_in(root: object) -> None:
    with TestClient(create_app(str(root)), base_url=ORIGIN, follow_redirects=False) as client:
        assert client.get("/").status_code == 200
        assert client.get("/login").headers["location"] == "/"


def test_the_key_of_attn_view_logs_in_and_another_does_not(root: object) -> None:
    app = create_app(str(root), tokens={"token-of-attn-view": "read"}, entry="the-key")
    with Browser(app) as browser:
        assert browser.get("/enter/another").status_code == 404
        assert browser.get("/").status_code == 303
        page = browser.get("/enter/the-key?next=/view/runs/first")
        assert '<meta http-equiv="refresh" content="0;url=/view/runs/first">' in page.text
        assert "token-of-attn-view" not in page.text
        assert browser.get("/").status_code == 200
        assert "/attacker" not in browser.get("/enter/the-key?next=//attacker.example").text
    with Browser(create_app(str(root), tokens=TOKENS)) as browser:
        assert browser.get("/enter/").status_code == 404
