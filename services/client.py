"""A client of the service's API, for the command line."""

from __future__ import annotations

__all__ = ["Client", "NoSuchJobError", "connect", "job_path", "quote"]

import json
import os
import re
import time
import urllib.parse
from collections.abc import Iterator
from typing import Any, cast

from attn.errors import AttnError, ConfigError, RunError
from attn.parsing import load_json
from services.calls import LISTED_BY_API, Answer, ContactLostError, ForeignError, call, checked_url
from services.discovery import Address, find_service, same_server

PATIENCE_SECONDS = 30
"""While waiting for a job: how long after the first failed call the service may stay unreachable before giving up."""
POLL_SECONDS = 1.0
LARGEST_LOG, SHORT_PIECE, SHORT_PIECES = 1 << 30, 512 << 10, 64
"""Limits for reading a log without following it: bytes in all, and pieces shorter than half of the service's largest.
Short pieces mean that the end was reached: the second limit ends the reading of a log that keeps growing."""
LONGEST_ERROR = 4000
LONGEST_ID = 100


class NoSuchJobError(RunError):
    """The service has no such job."""


def connect(root: str, given: str | None) -> Client:
    """Connect to the service at a URL, or else to the local service of a root.

    Raises:
        ContactLostError: No URL was given and no local service runs.
        ConfigError: The URL is invalid, or contains a password.
    """
    if given:
        url = checked_url(given)
        try:
            here = find_service(root)
        except AttnError:
            here = None
        return Client(url, root if here is not None and same_server(here.url, url) else None)
    if (result := find_service(root)) is None:
        raise ContactLostError(
            f"no service runs for {root}: start one with `attn serve --root {root}`, or give --service URL"
        )
    return Client(result.url, root)


class Client:
    """Calls to one service. The token comes from ATTN_SERVICE_TOKEN, or from the root of a local service.

    Attributes:
        root: Root of a local service. Its address is looked up again before each call: once the service has ended,
            another program may listen at the old address.
    """

    def __init__(self, url: str, root: str | None = None) -> None:
        self.url, self.root = url, root

    def get(self, path: str) -> dict[str, Any]:
        return self._object(self._call("GET", path))

    def post(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        return self._object(self._call("POST", path, json.dumps(body or {}).encode()))

    def job(self, job_id: str) -> dict[str, Any]:
        return self.checked_job(self.get(job_path(job_id)))

    def post_job(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """The status of the job after a request that changes it."""
        return self.checked_job(self.post(path, body))

    def checked_job(self, job: Any) -> dict[str, Any]:
        """Check that an answer is a job's status.

        Raises:
            ForeignError: It is not.
        """
        if not isinstance(job, dict) or not all(isinstance(job.get(name), str) for name in ("id", "state")):
            raise ForeignError(self.url, "its answer is not the status of a job")
        if not isinstance(job.get("started"), int | float | None):
            raise ForeignError(self.url, "its answer gives a job's start not as seconds")
        return cast("dict[str, Any]", job)

    def log(self, job_id: str, offset: int = 0, *, follow: bool = False) -> Iterator[bytes]:
        """Pieces of the log from a byte offset on.

        Args:
            follow: Continue until the job ends, reconnecting if a connection is lost.

        Raises:
            ForeignError: An answer is not the next piece of a log.
            RunError: Without `follow`, the log grows faster than it is read.
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
                raise ForeignError(self.url, "its answer lacks the offset of the log's next piece")
            if answer.body:
                yield answer.body
            if answer.headers.get("Attn-Ended") == "true" or not (answer.body or follow):
                return
            short += len(answer.body) < SHORT_PIECE
            if not follow and (short > SHORT_PIECES or offset - begun > LARGEST_LOG):
                raise RunError(
                    f"the log has not ended after {offset - begun} bytes: continue with `attn logs {job_id} --offset "
                    f"{offset}`; -f follows it until the job ends"
                )
            if not answer.body:
                time.sleep(POLL_SECONDS)

    def wait(self, job_id: str) -> dict[str, Any]:
        """A job's status once it has ended, or once its cluster was unreachable for PATIENCE_SECONDS."""
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
                waits, unreachable = time.monotonic() - since, job["state"] == "unreachable"
                if not (job["state"] in ("queued", "running") or (unreachable and waits <= PATIENCE_SECONDS)):
                    return job
                since = since if unreachable else time.monotonic()
            time.sleep(POLL_SECONDS)

    def _call(self, method: str, path: str, body: bytes | None = None) -> Answer:
        """Call the service; while it is full, call again when its `Retry-After` says, for PATIENCE_SECONDS in all."""
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
        if (result := find_service(self.root)) is None:
            raise ContactLostError(
                f"the service of {self.root} has ended: start it with `attn serve --root {self.root}`"
            )
        return result if result.token is not None else Address(result.url, given)

    def _object(self, answer: Answer) -> dict[str, Any]:
        try:
            body = load_json(answer.body)
        except ValueError:
            raise ForeignError(self.url, f"its answer with status {answer.status} is not JSON") from None
        if not isinstance(body, dict):
            raise ForeignError(self.url, "its answer is not a JSON object")
        return cast("dict[str, Any]", body)


def _retry_after(answer: Answer) -> float | None:
    """Seconds after which a full service asks to be called again; None if the answer does not ask for it."""
    given = answer.headers.get("Retry-After") or ""
    return float(given) + 0.1 if answer.status in (429, 503) and re.fullmatch("[0-9]{1,9}", given) else None


def quote(text: str) -> str:
    return urllib.parse.quote(text, safe="")


def job_path(job_id: str) -> str:
    """The URL path of a job.

    Raises:
        ConfigError: No job can have this name.
    """
    from jobs.runs.run_folder import is_run_id

    if not is_run_id(job_id):
        shown = job_id if len(job_id) <= LONGEST_ID else f"{job_id[:LONGEST_ID]}..."
        raise ConfigError(
            f"{shown!r} is not a job's name: it has letters, digits, '.', '_' and '-', up to {LONGEST_ID} characters"
        )
    return f"/jobs/{job_id}"


def _as_error(url: str, answer: Answer) -> AttnError:
    try:
        problem = load_json(answer.body)
        text, code = str(problem["detail"])[:LONGEST_ERROR], str(problem["code"])
    except (ValueError, KeyError, TypeError):
        return ForeignError(url, f"it answers with status {answer.status} and no reason")
    if answer.status == 401:
        text += (
            ". For a service of your own on this machine, give its --root and `attn` finds the token; otherwise set "
            "ATTN_SERVICE_TOKEN to a token of the service"
        )
    if answer.status == 404:
        return NoSuchJobError(text.replace(LISTED_BY_API, "`attn ls` lists them"))
    return ConfigError(text) if code in ("config", "request") else RunError(text)
