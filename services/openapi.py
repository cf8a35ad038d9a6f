"""Adds the possible errors of each route to `/openapi.json`, as `application/problem+json`."""

from __future__ import annotations

__all__ = ["describe_problems"]

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from services.models import Problem

ANYWHERE = {
    400: "the request is malformed, or its `Host` header is not a name of this service",
    403: "the request comes from a page of another site, or the token's role is insufficient",
    413: "the body is larger than 1 MiB",
    503: "all connections are busy, or the process that checks a submission was killed (`Retry-After` says when to try "
    "again); or a disk or database fails",
}
UNAUTHORIZED = "the token is missing or unknown: `Authorization: Bearer TOKEN`"
UNREADABLE = "a field, parameter or config is invalid; `detail` lists every fault"
NO_STORAGE = "an object store or cluster fails or does not answer"
FULL_DISK = "the service's disk is full"
FULL_QUEUE = "too many jobs wait, or too many submissions are being checked; `Retry-After` says when to try again"
QUEUEING = {("post", "/jobs"), ("post", "/plan"), ("post", "/jobs/{job_id}/resume")}
OPEN = "/healthz"
REFERENCE = {"$ref": "#/components/schemas/Problem"}
SECONDS = {"description": "seconds", "schema": {"type": "integer"}}
CHALLENGE = {"description": "how to log in", "schema": {"type": "string"}, "required": True}
HEADERS = {
    "401": {"WWW-Authenticate": CHALLENGE},
    "429": {"Retry-After": SECONDS | {"required": True}},
    "503": {"Retry-After": SECONDS},
}


def describe_problems(app: FastAPI) -> None:
    """Extend an application's OpenAPI schema by the errors of its middleware, its server and its handlers."""

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            text = get_openapi(title=app.title, version=app.version, routes=app.routes)
            for path, operations in text["paths"].items():
                for method, operation in operations.items():
                    _describe(path, method, operation)
            components = text.setdefault("components", {})
            schemas = components.setdefault("schemas", {})
            schemas |= {"Problem": Problem.model_json_schema()}
            for name in (
                "HTTPValidationError",
                "ValidationError",
            ):  # FastAPI's own 422
                schemas.pop(name, None)
            components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
            app.openapi_schema = text
        return app.openapi_schema

    app.openapi = described


def _describe(path: str, method: str, operation: dict[str, Any]) -> None:
    statuses = dict(ANYWHERE)
    if path != OPEN:
        operation["security"] = [{"token": []}]
        statuses |= {401: UNAUTHORIZED, 502: NO_STORAGE, 507: FULL_DISK}
    if operation.get("parameters") or "requestBody" in operation:
        statuses[422] = UNREADABLE
    if (method, path) in QUEUEING:
        statuses[429] = FULL_QUEUE
    answers: dict[str, Any] = operation["responses"]
    for status, meaning in statuses.items():
        answers.setdefault(str(status), {})["description"] = meaning
    for status, answer in answers.items():
        if int(status) >= 400:
            answer["content"] = {"application/problem+json": {"schema": REFERENCE}}
            answer["headers"] = HEADERS.get(status, {})
    operation["responses"] = dict(sorted(answers.items()))
