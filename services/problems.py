"""Answers every error of the service as `application/problem+json` (RFC 9457)."""

from __future__ import annotations

__all__ = ["add_problem_handlers", "problem"]

import difflib
import re
import sqlite3
import sys
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.routing import Match

from attn.errors import AttnError
from attn.redaction import without_secrets
from services.models import Problem
from services.storage_faults import storage_fault
from services.submission import Submission

MOST_FAULTS = 20
SHOWN = 100
"""Characters of a wrong value in a message."""
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
RETRY_SECONDS = 10
"""`Retry-After` of a request that came while the service was full, or while its checking process was killed."""
LATER = ("busy", "queue_full", "planning", "database", "late", "lost")

STATUS = {
    "config": HTTPStatus.UNPROCESSABLE_ENTITY,
    "refused": HTTPStatus.UNPROCESSABLE_ENTITY,
    "busy": HTTPStatus.TOO_MANY_REQUESTS,
    "queue_full": HTTPStatus.TOO_MANY_REQUESTS,
    "planning": HTTPStatus.SERVICE_UNAVAILABLE,
    "late": HTTPStatus.SERVICE_UNAVAILABLE,
    "lost": HTTPStatus.SERVICE_UNAVAILABLE,
    "storage": HTTPStatus.SERVICE_UNAVAILABLE,
    "database": HTTPStatus.SERVICE_UNAVAILABLE,
}
"""HTTP status by an error's code. Other errors are those of a cluster or object store: 502."""


def add_problem_handlers(app: FastAPI) -> None:
    """Answer `AttnError` and the framework's errors as problem documents, and unexpected errors without details."""

    @app.exception_handler(AttnError)
    def attn_error(request: Request, error: AttnError) -> JSONResponse:
        status = STATUS.get(error.code, HTTPStatus.BAD_GATEWAY)
        later = {"Retry-After": str(RETRY_SECONDS)} if error.code in LATER else None
        return problem(status, str(error), error.code, later)

    @app.exception_handler(OSError)
    @app.exception_handler(SQLAlchemyError)
    @app.exception_handler(sqlite3.Error)
    def storage_error(request: Request, error: Exception) -> JSONResponse:
        if (fault := storage_fault(error)) is None:
            raise error  # unexpected
        print(f"service: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        return problem(fault.status, fault.detail, fault.code)

    @app.exception_handler(HTTPException)
    def http_error(request: Request, error: HTTPException) -> JSONResponse:
        headers = {**(error.headers or {}), "Allow": _allowed(request)} if error.status_code == 405 else error.headers
        return problem(error.status_code, str(error.detail), "http", headers)

    @app.exception_handler(RequestValidationError)
    def bad_request(request: Request, error: RequestValidationError) -> JSONResponse:
        faults = list(map(_fault, error.errors()))
        more = [f"and {len(faults) - MOST_FAULTS} more"] if len(faults) > MOST_FAULTS else []
        return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "; ".join([*faults[:MOST_FAULTS], *more]), "request")

    @app.exception_handler(Exception)
    def unforeseen(request: Request, error: Exception) -> JSONResponse:
        return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "the service failed; its log says why", "unexpected")


def _allowed(request: Request) -> str:
    """All methods of a path; Starlette names only those of its first route."""

    def answers(method: str) -> bool:
        scope = {**request.scope, "method": method}
        return any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)

    return ", ".join(filter(answers, METHODS))


def _fault(fault: Mapping[str, Any]) -> str:
    """A message for a validation error, with the field named as in the request."""
    name = ".".join(map(str, fault["loc"][1:]))  # the first item is the part of the request: body, query ...
    message = re.sub("^(Value error, |(Input|String) (?=should))", "", str(fault["msg"]))
    given = fault.get("input")
    match fault["type"]:
        case "json_invalid":
            return "the body is not JSON"
        case "missing":
            return f"{name or fault['loc'][0]} is missing"
        case "extra_forbidden":
            near = difflib.get_close_matches(name, Submission.model_fields, n=1, cutoff=0.5)
            return f"{name} is not a known field" + (f"; did you mean {near[0]}?" if near else "")
        case "literal_error":
            options = str(fault["ctx"]["expected"]).replace("'", "")
            near = difflib.get_close_matches(str(given), options.replace(" or ", ", ").split(", "), n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            return f"{name} = {_shown(given)} is not available: one of {options}{hint}"
        case _ if name and not isinstance(given, dict | list):
            return f"{name} = {_shown(given)} {message}"
        case _:
            return f"{name}: {message}" if name else message


def _shown(given: object) -> str:
    text = without_secrets(repr(given)[: 2 * SHOWN])
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def problem(status: int, detail: str, code: str, headers: object = None) -> JSONResponse:
    """An error response; `code` is the error's stable name."""
    body = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail, code=code)
    return JSONResponse(
        body.model_dump(),
        status_code=status,
        headers=dict(headers) if isinstance(headers, dict) else None,
        media_type="application/problem+json",
    )
