"""The style, scripts and icon of the pages."""

from __future__ import annotations

__all__ = ["static_routes", "static_url"]

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fastapi import APIRouter, HTTPException, Request, Response

FOLDER = Path(__file__).parent / "static"
TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
FOR_GOOD = "public, max-age=31536000, immutable"


@dataclass(frozen=True)
class _File:
    """A file as it is sent: gzipped if that makes it much smaller, which it does for all texts."""

    zipped: bytes
    media_type: str
    digest: str


def static_url(name: str) -> str:
    """The address of a file; it changes with the content, so that browsers may keep the file for good."""
    return f"/static/{name}?v={_file(name).digest}"


def static_routes() -> APIRouter:
    """Create the route of the static files. They are the same for everybody, and need no log-in."""
    router = APIRouter(include_in_schema=False)

    @router.get("/static/{name}")
    def static(request: Request, name: str, v: str = "") -> Response:
        if name not in _names():
            raise HTTPException(404, f"no static file {name!r}")
        file = _file(name)
        headers = {"ETag": f'"{file.digest}"', "Cache-Control": FOR_GOOD if v == file.digest else "no-cache"}
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        content = file.zipped
        if "gzip" in request.headers.get("accept-encoding", ""):
            headers["Content-Encoding"] = "gzip"
        else:
            content = gzip.decompress(content)
        headers["Vary"] = "Accept-Encoding"
        return Response(content, headers=headers, media_type=file.media_type)

    return router


@cache
def _names() -> frozenset[str]:
    """All files that there are; a name from a request is compared with these, and never becomes a path."""
    return frozenset(path.name for path in FOLDER.iterdir() if path.suffix in TYPES)


@cache
def _file(name: str) -> _File:
    data = (FOLDER / name).read_bytes()
    return _File(gzip.compress(data, 6), TYPES[Path(name).suffix], hashlib.sha256(data).hexdigest()[:16])
