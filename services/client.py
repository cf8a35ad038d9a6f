"""The command line's side of the service's API."""

from __future__ import annotations

__all__ = ["Client", "connect", "job_path", "quote"]

import json
import os
import re
import time
import urllib.parse
from collections.abc import Iterator
from typing import Any, cast

from attn.errors import AttnError, ConfigError, RunError
from attn.parsing import load_json
from services.calls import Answer, ContactLostError, ForeignError, call, checked_url
from services.discovery import Address, find_service, same_server

PATIENCE_SECONDS = 30
"""How long a service may be away after the first call that failed, while it is waited for: then contact is lost."""
POLL_SECONDS = 1.0
LARGEST_LOG, SHORT_PIECE, SHORT_PIECES = 1 << 30, 512 << 10, 64
"""What is read of a log that is not followed: so many bytes, and so many pieces of less than half of what the service
gives at a time, so that one ends that grows as it is read."""
LONGEST_ERROR = 4000
LONGEST_ID = 100


def connect(root: str, given: str | None) -> Client:
    """The service of a URL, or the local one of a root.

    Raises:
        RunError: None was given and none is up here.
        ConfigError: The URL is none, or holds a password.
    """
    if given:
        url = checked_url(given)
        try:
            here = find_service(root)
        except AttnError:
            here = None
        return Client(url, root if here is not None and same_server(here.url, url) else None)
    if (found := find_service(root)) is None:
        raise RunError(f"no service is up for {root}: start one by `attn serve --root {root}`, or give --service URL")
    return Client(found.url, root)


class Client:
    """Calls to one service; the token, where it wants one, comes from ATTN_SERVICE_TOKEN or from its own root.

    Attributes:
        root: Of a local service that is found by the file that it leaves there. Looked up before each call: what
            listens at an address whose service has ended is somebody else.
    """

    def __init__(self, url: str, root: str | None = None) -> None:
        self.url, self.root = url, root

    def get(self, path: str) -> dict[str, Any]:
        return self._object(self._call("GET", path))

    def post(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        return self._object(self._call("POST", path, json.dumps(body or {}).encode()))

    def job(self, job_id: str) -> dict[str, Any]:
        """A job's status."""
        return self.checked_job(self.get(job_path(job_id)))

    def post_job(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """The status of the job that something was asked for."""
        return self.checked_job(self.post(path, body))

    def checked_job(self, job: Any) -> dict[str, Any]:
        """A job's status as it was answered.

        Raises:
            ForeignError: It is none.
        """
        if not isinstance(job, dict) or not all(isinstance(job.get(name), str) for name in ("id", "state")):
            raise ForeignError(self.url, "its answer is no job's status")
        if not isinstance(job.get("started"), int | float | None):
            raise ForeignError(self.url, "its answer says a job's start in no seconds")
        return cast("dict[str, Any]", job)

    def log(self, job_id: str, offset: int = 0, *, follow: bool = False) -> Iterator[bytes]:
        """The log's pieces from a byte on; with `follow` until the job ends, whatever becomes of one connection.

        Raises:
            ForeignError: What comes is no log's next piece.
            RunError: It is not followed, and does not end.
        """
        lost, begun, short = None, offset, 0
        while True:
            try:
                answer = self._call("GET", f"{job_path(job_id)}/log?offset={offset}")
            except ContactLostError:
                lost = lost or time.monotonic()
                if not follow or time.monotonic() - lost > PATIENCE_SECONDS:
                    raise
                time.sleep(POLL_SECONDS)
                continue
            lost, offset = None, offset + len(answer.body)
            if answer.headers.get("Attn-Next-Offset") != str(offset):
                raise ForeignError(self.url, "it does not say where a log goes on")
            if answer.body:
                yield answer.body
            if answer.headers.get("Attn-Ended") == "true" or not (answer.body or follow):
                return
            short += len(answer.body) < SHORT_PIECE
            if not follow and (short > SHORT_PIECES or offset - begun > LARGEST_LOG):
                raise RunError(
                    f"the log has not ended after {offset - begun} bytes: `attn logs {job_id} --offset {offset}` goes "
                    "on, with -f until the job ends"
                )
            if not answer.body:
                time.sleep(POLL_SECONDS)

    def wait(self, job_id: str) -> dict[str, Any]:
        """A job's status once it has ended, or once its cluster was as long away as the service itself may be."""
        since, lost = time.monotonic(), None
        while True:
            try:
                job = self.job(job_id)
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

    def _call(self, method: str, path: str, body: bytes | None = None) -> Answer:
        """An answer that is no error; a service that is full is asked again while it says when, for some time."""
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            address = self._address()
            answer = call(address.url, method, path, token=address.token, body=body)
            if answer.status < 400:
                return answer
            pause = _retry_after(answer)
            if pause is None or time.monotonic() + pause > until:
                raise _as_error(address.url, answer)
            time.sleep(pause)

    def _address(self) -> Address:
        given = os.environ.get("ATTN_SERVICE_TOKEN")
        if self.root is None:
            return Address(self.url, given)
        if (found := find_service(self.root)) is None:
            raise ContactLostError(f"the service of {self.root} has ended: start it by `attn serve --root {self.root}`")
        return found if found.token is not None else Address(found.url, given)

    def _object(self, answer: Answer) -> dict[str, Any]:
        try:
            said = load_json(answer.body)
        except ValueError:
            raise ForeignError(self.url, f"its answer with status {answer.status} is not JSON") from None
        if not isinstance(said, dict):
            raise ForeignError(self.url, "its answer is no JSON object")
        return cast("dict[str, Any]", said)


def _retry_after(answer: Answer) -> float | None:
    """Seconds after which a service that is full asks to be called again; None where it does not."""
    given = answer.headers.get("Retry-After") or ""
    return float(given) + 0.1 if answer.status in (429, 503) and re.fullmatch("[0-9]{1,9}", given) else None


def quote(text: str) -> str:
    return urllib.parse.quote(text, safe="")


def job_path(job_id: str) -> str:
    """Where a service has a job.

    Raises:
        ConfigError: No job can have this name.
    """
    from jobs.runs.run_folder import is_run_id

    if not is_run_id(job_id):
        shown = job_id if len(job_id) <= LONGEST_ID else f"{job_id[:LONGEST_ID]}..."
        raise ConfigError(f"{shown!r} is no job's name: letters, digits, '.', '_' and '-', up to {LONGEST_ID}")
    return f"/jobs/{job_id}"


def _as_error(url: str, answer: Answer) -> AttnError:
    try:
        problem = load_json(answer.body)
        text, code = str(problem["detail"])[:LONGEST_ERROR], str(problem["code"])
    except (ValueError, KeyError, TypeError):
        return ForeignError(url, f"it answers with status {answer.status} and no reason")
    if answer.status == 401:
        text += (
            ". `attn` finds the token that a service of this machine made for its own user, by --root; else set "
            "ATTN_SERVICE_TOKEN to one"
        )
    return ConfigError(text) if code in ("config", "request") else RunError(text)
