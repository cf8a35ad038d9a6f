"""Every error of the service as `application/problem+json`."""

from __future__ import annotations

__all__ = ["add_problem_handlers"]

from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from attn.errors import AttnError
from services.models import Problem


def add_problem_handlers(app: FastAPI) -> None:
    """Answer an `AttnError` and the framework's own errors with a problem document, and hide what nobody foresaw."""

    @app.exception_handler(AttnError)
    def attn_error(request: Request, error: AttnError) -> JSONResponse:
        return _problem(HTTPStatus.BAD_GATEWAY, str(error), error.code)

    @app.exception_handler(HTTPException)
    def http_error(request: Request, error: HTTPException) -> JSONResponse:
        return _problem(error.status_code, str(error.detail), "http", error.headers)

    @app.exception_handler(RequestValidationError)
    def bad_request(request: Request, error: RequestValidationError) -> JSONResponse:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        return _problem(HTTPStatus.UNPROCESSABLE_ENTITY, faults, "request")

    @app.exception_handler(Exception)
    def unforeseen(request: Request, error: Exception) -> JSONResponse:
        return _problem(HTTPStatus.INTERNAL_SERVER_ERROR, "the service failed; its log says why", "unexpected")


def _problem(status: int, detail: str, code: str, headers: object = None) -> JSONResponse:
    body = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail, code=code)
    return JSONResponse(
        body.model_dump(),
        status_code=status,
        headers=dict(headers) if isinstance(headers, dict) else None,
        media_type="application/problem+json",
    )
