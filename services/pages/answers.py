"""What every answer to a browser has: errors as pages, and headers that leave scripts of others no way in."""

from __future__ import annotations

__all__ = ["BrowserAnswers"]

import json
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import RedirectResponse, Response
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.pages.site import Site

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)
"""No inline script or style, and nothing of another server."""
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with `no-referrer`, browsers send forms without their origin
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class BrowserAnswers:
    """Middleware that adds the security headers, and shows an error to a browser as a page.

    A browser that asks for a page without being logged in is led to the log-in page. Other clients get the problem
    document as it is.
    """

    def __init__(self, app: ASGIApp, site: Site) -> None:
        self.app, self.site = app, site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        wants_page = "text/html" in Headers(scope=scope).get("accept", "")
        head: Message | None = None
        body = b""

        async def answer(message: Message) -> None:
            nonlocal head, body
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if wants_page and headers.get("content-type") == "application/problem+json":
                    head = message
                    return
            elif head is not None and message["type"] == "http.response.body":
                body += message.get("body", b"")
                if not message.get("more_body", False):
                    page = self._page(Request(scope), json.loads(body), head)
                    await page(scope, receive, send)
                return
            await send(message)

        await self.app(scope, receive, answer)

    def _page(self, request: Request, problem: dict[str, object], head: Message) -> Response:
        page: Response
        if problem["status"] == 401 and request.method == "GET":
            target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            page = RedirectResponse(f"/login?next={quote(target, safe='')}", status_code=303)
        else:
            # The request's own context belongs to nobody where the problem is that of a refused request.
            page = self.site.render(request, "problem.html", status=int(str(problem["status"])), problem=problem)
            for name, value in Headers(raw=head["headers"]).items():
                if name in ("retry-after", "allow"):
                    page.headers[name] = value
        page.headers.update(HEADERS)
        return page
