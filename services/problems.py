"""Every error of the service as `application/problem+json`."""

from __future__ import annotations

__all__ = ["add_problem_handlers", "problem"]

import sqlite3
import sys
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.routing import Match

from attn.errors import AttnError
from services.models import Problem
from services.storage_faults import storage_fault

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
RETRY_SECONDS = 10
"""After which what found the service full, or the process that looks at it gone, may be sent again."""
LATER = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)

STATUS = {
    "config": HTTPStatus.UNPROCESSABLE_ENTITY,
    "refused": HTTPStatus.UNPROCESSABLE_ENTITY,
    "busy": HTTPStatus.TOO_MANY_REQUESTS,
    "queue_full": HTTPStatus.TOO_MANY_REQUESTS,
    "planning": HTTPStatus.SERVICE_UNAVAILABLE,
}
"""Of an error's code, where the client can do something about it."""


def add_problem_handlers(app: FastAPI) -> None:
    """Answer an `AttnError` and the framework's own errors with a problem document, and hide what nobody foresaw."""

    @app.exception_handler(AttnError)
    def attn_error(request: Request, error: AttnError) -> JSONResponse:
        status = STATUS.get(error.code, HTTPStatus.BAD_GATEWAY)
        later = {"Retry-After": str(RETRY_SECONDS)} if status in LATER else None
        return problem(status, str(error), error.code, later)

    @app.exception_handler(OSError)
    @app.exception_handler(SQLAlchemyError)
    @app.exception_handler(sqlite3.Error)
    def storage_error(request: Request, error: Exception) -> JSONResponse:
        if (fault := storage_fault(error)) is None:
            raise error  # nobody foresaw it
        print(f"service: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        return problem(fault.status, fault.detail, fault.code)

    @app.exception_handler(HTTPException)
    def http_error(request: Request, error: HTTPException) -> JSONResponse:
        headers = {**(error.headers or {}), "Allow": _allowed(request)} if error.status_code == 405 else error.headers
        return problem(error.status_code, str(error.detail), "http", headers)

    @app.exception_handler(RequestValidationError)
    def bad_request(request: Request, error: RequestValidationError) -> JSONResponse:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        return problem(HTTPStatus.UNPROCESSABLE_ENTITY, faults, "request")

    @app.exception_handler(Exception)
    def unforeseen(request: Request, error: Exception) -> JSONResponse:
        return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "the service failed; its log says why", "unexpected")


def _allowed(request: Request) -> str:
    """All methods of a path; Starlette names those of the first of its routes."""

    def answers(method: str) -> bool:
        scope = {**request.scope, "method": method}
        return any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)

    return ", ".join(filter(answers, METHODS))


def problem(status: int, detail: str, code: str, headers: object = None) -> JSONResponse:
    """An error as an answer; `code` is its stable name."""
    body = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail, code=code)
    return JSONResponse(
        body.model_dump(),
        status_code=status,
        headers=dict(headers) if isinstance(headers, dict) else None,
        media_type="application/problem+json",
    )
