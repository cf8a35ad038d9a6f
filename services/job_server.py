"""Calls to the job server of a Ray cluster: its HTTP API, with a time limit on every call."""

from __future__ import annotations

__all__ = ["JobServer", "JobServerError", "LostContactError"]

import os
import time
from pathlib import Path
from typing import Any

import requests

from attn.errors import AttnError

CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 10.0
RETRY_SECONDS = 1.0
"""How long a server that did not answer is left in peace, or as long as it kept one waiting."""
NODE_LABEL = "ray.io/node-id"


class LostContactError(AttnError):
    """The job server does not answer, or not as one."""

    code = "lost_contact"
    exit_status = 4


class JobServerError(AttnError):
    """The job server does not do what it was asked for."""

    code = "job_server"


class JobServer:
    """One job server.

    Ray's own client is not used: it has no time limits, so that a head that hangs would hold up the service, and
    `RAY_ADDRESS` overrides the address that it is given.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.lost: str | None = None
        self.lost_since = self.lost_until = self.retry_at = self.began = 0.0

    @property
    def lost_for(self) -> float:
        """Seconds between the first and the last of the calls that all failed: one slow call alone tells little."""
        return self.lost_until - self.lost_since if self.lost else 0.0

    def check(self) -> None:
        """Raise LostContactError where no job server answers."""
        if self._call("GET", "/api/version") is None:
            raise self._losing("is no job server of Ray")

    def job(self, name: str) -> dict[str, Any] | None:
        """What Ray says of a job; None where it knows none of this name."""
        try:
            return self._call("GET", f"/api/jobs/{name}")
        except JobServerError as error:  # its own store does not answer it
            raise self._losing(str(error)) from None

    def submit(self, name: str, command: str, *, node: str | None = None, environment: dict[str, str]) -> None:
        """Submit a shell line under a name that is new.

        Args:
            node: Id of the node to run on, else the head.
            environment: Shown to whoever sees the dashboard: no place for secrets.
        """
        body: dict[str, Any] = {"submission_id": name, "entrypoint": command, "metadata": {"job_name": name}}
        body |= {"runtime_env": {"env_vars": environment}} if environment else {}
        body |= {"entrypoint_label_selector": {NODE_LABEL: node}} if node else {}
        self._call("POST", "/api/jobs/", body)

    def stop(self, name: str) -> None:
        self._call("POST", f"/api/jobs/{name}/stop")

    def log(self, name: str) -> bytes:
        """All that a job has written so far; Ray gives no part of it."""
        told = self._call("GET", f"/api/jobs/{name}/logs") or {}
        return str(told.get("logs") or "").encode()

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any] | None:
        if self.lost and time.monotonic() < self.retry_at:
            raise LostContactError(self.lost)
        self.began = time.monotonic()
        try:
            answer = requests.request(
                method, self.url + path, json=body, auth=_with_token, allow_redirects=False,
                timeout=(CONNECT_SECONDS, ANSWER_SECONDS),
            )  # fmt: skip
            if answer.status_code in (401, 403):
                raise self._losing("refuses the service's token: set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH")
            if answer.status_code not in (200, 404):
                raise JobServerError(f"the job server answers {answer.status_code}: {_last_line(answer.text)}")
            told = answer.json() if answer.status_code == 200 else None
        except requests.JSONDecodeError:
            raise self._losing("is no job server of Ray") from None
        except requests.Timeout:
            raise self._losing("does not answer in time") from None
        except requests.RequestException as error:
            raise self._losing(f"does not answer ({type(error).__name__})") from None
        self.lost = None
        return told

    def _losing(self, how: str) -> LostContactError:
        now = self.lost_until = time.monotonic()
        if not self.lost:
            self.lost_since = now
        self.lost = f"lost contact: {self.url} {how}"
        self.retry_at = now + max(RETRY_SECONDS, now - self.began)
        return LostContactError(self.lost)


def _with_token(request: Any) -> Any:
    """Add Ray's token, from where Ray's own tools take it; as `auth`, so that no `.netrc` puts another in its place."""
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
        return ""  # the server says that it wants one


def _last_line(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return lines[-1][:500] if lines else "nothing"
