"""Answers that browsers keep, and ask again whether they are still right."""

from __future__ import annotations

__all__ = ["cached"]

import hashlib

from fastapi import Request, Response


def cached(request: Request, data: bytes, media_type: str, *, seconds: int = 0) -> Response:
    """An answer with an ETag, or 304 to a browser that has it.

    Args:
        seconds: How long a browser may show it without asking. It is for the person who is logged in alone.
    """
    tag = f'"{hashlib.sha256(data).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": f"private, max-age={seconds}" if seconds else "private, no-cache"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(data, headers=headers, media_type=media_type)
