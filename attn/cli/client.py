"""The command line's side of the service's API."""

from __future__ import annotations

__all__ = ["Client", "connect"]

import http.client
import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

from attn.cli.service_place import find_service
from attn.errors import AttnError, ConfigError, RunError

CONNECT_SECONDS = 60
ANSWER_SECONDS = 600
"""A service gives way to what its machine computes, and imports PyTorch at the first submission: that takes minutes."""
PATIENCE_SECONDS = 30
"""How long a service may be away after the first call that failed, while it is waited for: then contact is lost."""
POLL_SECONDS = 1.0


class ContactLostError(AttnError):
    """The service does not answer."""

    code = "lost_contact"
    exit_status = 4


def connect(root: str, given: str | None) -> Client:
    """The service of a URL, or the local one of a root.

    Raises:
        RunError: None was given and none is up here.
    """
    url = find_service(root, given)
    if url is None:
        raise RunError(f"no service is up for {root}: start one by `attn serve --root {root}`, or give --service URL")
    if not url.startswith(("http://", "https://")):
        raise ConfigError(f"--service {url} is not an http:// or https:// address")
    return Client(url)


class _Connection(http.client.HTTPConnection):
    """It is given up sooner while it is made than while an answer is waited for."""

    def connect(self) -> None:
        super().connect()
        self.sock.settimeout(ANSWER_SECONDS)


class _SecureConnection(http.client.HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        self.sock.settimeout(ANSWER_SECONDS)


class _Patient(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_Connection, req)


class _SecurePatient(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_SecureConnection, req)


_OPENER = urllib.request.build_opener(_Patient, _SecurePatient)


class Client:
    """Calls to one service; the token, where it wants one, comes from ATTN_SERVICE_TOKEN."""

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str) -> Any:
        return json.loads(self._call("GET", path)[0])

    def post(self, path: str, body: dict[str, Any] | None = None) -> Any:
        return json.loads(self._call("POST", path, json.dumps(body or {}).encode())[0])

    def log(self, job_id: str, offset: int = 0, *, follow: bool = False) -> Iterator[bytes]:
        """The log's pieces from a byte on; with `follow` until the job ends, whatever becomes of one connection."""
        lost: float | None = None
        while True:
            try:
                data, headers = self._call("GET", f"/jobs/{quote(job_id)}/log?offset={offset}")
            except ContactLostError:
                lost = lost or time.monotonic()
                if not follow or time.monotonic() - lost > PATIENCE_SECONDS:
                    raise
                time.sleep(POLL_SECONDS)
                continue
            lost, offset = None, offset + len(data)
            if data:
                yield data
                continue
            if not follow or headers.get("Attn-Ended") == "true":
                return
            time.sleep(POLL_SECONDS)

    def wait(self, job_id: str) -> dict[str, Any]:
        """A job's status once it has ended, or once its cluster was as long away as the service itself may be."""
        since, lost = time.monotonic(), None
        while True:
            try:
                job = self.get(f"/jobs/{quote(job_id)}")
            except ContactLostError:
                lost = lost or time.monotonic()
                if time.monotonic() - lost > PATIENCE_SECONDS:
                    raise
            else:
                lost = None
                waits, away = time.monotonic() - since, job["state"] == "unreachable"
                if not (job["state"] in ("queued", "running") or (away and waits <= PATIENCE_SECONDS)):
                    return job
                since = since if away else time.monotonic()
            time.sleep(POLL_SECONDS)

    def _call(self, method: str, path: str, body: bytes | None = None) -> tuple[bytes, Any]:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if token := os.environ.get("ATTN_SERVICE_TOKEN"):
            headers["Authorization"] = f"Bearer {token}"
        request = urllib.request.Request(f"{self.url}{path}", data=body, headers=headers, method=method)
        try:
            with _OPENER.open(request, timeout=CONNECT_SECONDS) as answer:
                return answer.read(), answer.headers
        except urllib.error.HTTPError as error:
            with error:
                raise _as_error(error.code, error.read()) from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            raise ContactLostError(f"the service at {self.url} does not answer: {reason}") from None


def quote(job_id: str) -> str:
    return urllib.parse.quote(job_id, safe="")


def _as_error(status: int, body: bytes) -> AttnError:
    try:
        problem = json.loads(body)
        text, code = str(problem["detail"]), str(problem["code"])
    except (ValueError, KeyError, TypeError):
        text, code = f"the service answered with status {status}", "http"
    return ConfigError(text) if code in ("config", "request") else RunError(text)
