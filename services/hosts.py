"""The names that the service answers to: a page of another site could reach it by a name of its own that leads here."""

from __future__ import annotations

__all__ = ["AllowedHosts"]

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from services.problems import problem

NAMES = ("127.0.0.1", "localhost", "[::1]")


class AllowedHosts:
    """Refuses requests for any name but this machine's own, which stays on it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            host = Headers(scope=scope).get("host", "").lower()
            name = f"{host.partition(']')[0]}]" if host.startswith("[") else host.partition(":")[0]
            if name not in NAMES:
                answer = problem(400, f"this service answers to {', '.join(NAMES)} and to no other name", "host")
                await answer(scope, receive, send)
                return
        await self.app(scope, receive, send)
