"""The pages by which people log in and out with a token of the service."""

from __future__ import annotations

__all__ = ["log_in_routes"]

import hmac

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import RedirectResponse

from services.forms import form_of
from services.pages.site import Site
from services.sessions import SECONDS, Sessions, cookie_name


def log_in_routes(site: Site, sessions: Sessions, entry: str | None) -> APIRouter:
    """Create the routes of the log-in page.

    Args:
        entry: As for `services.api.create_app`.
    """
    router = APIRouter(include_in_schema=False)

    @router.get("/login")
    def page(request: Request, next: str = "/") -> Response:
        if not sessions.tokens:
            return RedirectResponse("/", status_code=303)
        return site.render(request, "login.html", next=_own_path(next), wrong=False)

    @router.post("/login")
    async def log_in(request: Request) -> Response:
        fields = await form_of(request)
        token, target = fields.get("token", "").strip(), _own_path(fields.get("next", "/"))
        if "origin" not in request.headers or sessions.role(token) is None:
            return site.render(request, "login.html", status=403, next=target, wrong=True)
        return _with_cookie(request, RedirectResponse(target, status_code=303), sessions.cookie(token), SECONDS)

    @router.post("/logout")
    def log_out(request: Request) -> Response:
        return _with_cookie(request, RedirectResponse("/login", status_code=303), "", 0)

    if entry is not None:

        @router.get("/enter/{key}")
        def enter(request: Request, key: str, next: str = "/") -> Response:
            if not hmac.compare_digest(key.encode(), entry.encode()):
                raise HTTPException(404, "this address was of another `attn view`, which has ended")
            # A page that leads on by itself: after a redirect from another site, browsers would withhold the cookie.
            answer = site.render(request, "enter.html", next=_own_path(next))
            return _with_cookie(request, answer, sessions.cookie(*sessions.tokens), SECONDS)

    return router


def _with_cookie(request: Request, answer: Response, value: str, seconds: int) -> Response:
    answer.set_cookie(
        cookie_name(request.headers), value, max_age=seconds, httponly=True, samesite="strict",
        secure=request.url.scheme == "https",
    )  # fmt: skip
    return answer


def _own_path(target: str) -> str:
    """A path of this service; any other target becomes the first page."""
    is_path = target.startswith("/") and not target.startswith("//") and target.isprintable() and "\\" not in target
    return target if is_path else "/"
