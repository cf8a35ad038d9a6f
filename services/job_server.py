"""Calls to the HTTP API of a Ray cluster's job server, each with a time limit."""

from __future__ import annotations

__all__ = ["JobServer", "JobServerError", "LostContactError"]

import os
import time
from pathlib import Path
from typing import Any

import requests

from attn.errors import AttnError
from jobs.ray_cluster.shipped_code import WRITES_BYTECODE, ShippedCode

CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 10.0
RETRY_SECONDS = 1.0
"""Shortest pause before a server that did not answer is called again; at least as long as the failed call took."""
NODE_LABEL = "ray.io/node-id"


class LostContactError(AttnError):
    """The job server does not answer, or its answer is not a job server's."""

    code = "lost_contact"
    exit_status = 4


class JobServerError(AttnError):
    """The job server refuses a request."""

    code = "job_server"


class JobServer:
    """One job server.

    Ray's own client is not used: it has no time limits, so a hanging head node would block the service, and
    `RAY_ADDRESS` overrides the address given to it.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.lost: str | None = None
        self.lost_since = self.lost_until = self.retry_at = self.began = 0.0

    @property
    def lost_for(self) -> float:
        """Seconds between the first and the last of a series of failed calls; 0 after a single one."""
        return self.lost_until - self.lost_since if self.lost else 0.0

    def check(self) -> None:
        """Raise LostContactError if no job server answers."""
        if self._call("GET", "/api/version") is None:
            raise self._mark_unreachable("is not a job server of Ray")

    def job(self, name: str) -> dict[str, Any] | None:
        """Ray's description of a job; None if it knows no job of this name."""
        try:
            return self._call("GET", f"/api/jobs/{name}")
        except JobServerError as error:  # the job server cannot reach Ray's GCS
            raise self._mark_unreachable(str(error)) from None

    def upload(self, code: ShippedCode) -> None:
        """Send the code of jobs, unless the server has it; it keeps it for some minutes, and while jobs use it."""
        path = f"/api/packages/gcs/{code.package}"
        if self._call("GET", path, answers=False) is None:
            self._call("PUT", path, content=code.zipped(), answers=False)

    def submit(
        self, name: str, command: str, code: ShippedCode, *, node: str | None = None, environment: dict[str, str]
    ) -> None:
        """Submit a shell command under a new name.

        Args:
            code: What it runs, which `upload` has sent.
            node: Id of the node to run on; None: the head node.
            environment: Environment variables. The dashboard shows them, so they must contain no secrets.
        """
        body: dict[str, Any] = {"submission_id": name, "entrypoint": command, "metadata": {"job_name": name}}
        body |= {"runtime_env": {"env_vars": {**WRITES_BYTECODE, **environment}, "working_dir": code.uri}}
        body |= {"entrypoint_label_selector": {NODE_LABEL: node}} if node else {}
        self._call("POST", "/api/jobs/", body)

    def stop(self, name: str) -> None:
        self._call("POST", f"/api/jobs/{name}/stop")

    def log(self, name: str) -> bytes:
        """The whole log of a job so far; Ray's API cannot return a part of it."""
        answer = self._call("GET", f"/api/jobs/{name}/logs") or {}
        return str(answer.get("logs") or "").encode()

    def _call(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        content: bytes | None = None,
        answers: bool = True,
    ) -> dict[str, Any] | None:
        """Call the server.

        Args:
            body: JSON to send.
            content: Bytes to send.
            answers: Whether its answer is JSON, and not empty.

        Returns:
            The answer; None where there is nothing under that path.
        """
        if self.lost and time.monotonic() < self.retry_at:
            raise LostContactError(self.lost)
        self.began = time.monotonic()
        try:
            answer = requests.request(
                method, self.url + path, json=body, data=content, auth=_with_token, allow_redirects=False,
                timeout=(CONNECT_SECONDS, ANSWER_SECONDS),
            )  # fmt: skip
            if answer.status_code in (401, 403):
                raise self._mark_unreachable(
                    "refuses the service's token: set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH"
                )
            if answer.status_code not in (200, 404):
                raise JobServerError(f"the job server answers {answer.status_code}: {_last_line(answer.text)}")
            result = (answer.json() if answers else {}) if answer.status_code == 200 else None
        except requests.JSONDecodeError:
            raise self._mark_unreachable("is not a job server of Ray") from None
        except requests.Timeout:
            raise self._mark_unreachable("does not answer in time") from None
        except requests.RequestException as error:
            raise self._mark_unreachable(f"does not answer ({type(error).__name__})") from None
        self.lost = None
        return result

    def _mark_unreachable(self, how: str) -> LostContactError:
        now = self.lost_until = time.monotonic()
        if not self.lost:
            self.lost_since = now
        self.lost = f"lost contact: {self.url} {how}"
        self.retry_at = now + max(RETRY_SECONDS, now - self.began)
        return LostContactError(self.lost)


def _with_token(request: Any) -> Any:
    """Add Ray's token, found as Ray's own tools do. Used as `auth`, so that requests takes no login from `.netrc`."""
    if os.environ.get("RAY_AUTH_MODE", "").lower() == "token" and (token := _token()):
        request.headers["Authorization"] = f"Bearer {token}"
    return request


def _token() -> str:
    if token := os.environ.get("RAY_AUTH_TOKEN"):
        return token.strip()
    try:
        file = os.path.expanduser(os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token")
        return Path(file).read_text(encoding="utf-8").strip()
    except OSError:
        return ""  # a server that needs a token refuses the call


def _last_line(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return lines[-1][:500] if lines else "nothing"
