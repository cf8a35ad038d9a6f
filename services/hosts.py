"""Checks the `Host` header against DNS rebinding: another site's host name may resolve to this machine."""

from __future__ import annotations

__all__ = ["AllowedHosts"]

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from services.problems import problem

NAMES = ("127.0.0.1", "localhost", "[::1]")


class AllowedHosts:
    """Middleware that refuses requests for any host name but this machine's loopback names."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            host = Headers(scope=scope).get("host", "").lower()
            name = f"{host.partition(']')[0]}]" if host.startswith("[") else host.partition(":")[0]
            if name not in NAMES:
                answer = problem(400, f"this service can be called as {', '.join(NAMES)} only", "host")
                await answer(scope, receive, send)
                return
        await self.app(scope, receive, send)
