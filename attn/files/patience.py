"""Requests to the object store: while it does not answer, they are repeated for as long as the process has patience.

A run that is under way waits for minutes. A command that has never had an answer from the store gives up in seconds,
since the address may be wrong.
"""

from __future__ import annotations

__all__ = [
    "BRIEF_PATIENCE_SECONDS",
    "DEFAULT_PATIENCE_SECONDS",
    "PATIENCE_VARIABLE",
    "ObjectStoreError",
    "call",
    "is_transient",
    "longest_wait",
    "patience",
    "patience_of",
    "set_patience",
    "tell_by",
]

import contextlib
import logging
import math
import os
import random
import threading
import time
from collections.abc import Callable, Generator
from contextvars import ContextVar
from typing import Any, TypeVar

from attn import progress
from attn.display import duration
from attn.errors import AttnError, ConfigError, StorageAwayError
from attn.files.s3 import client, reason, settings

T = TypeVar("T")

PATIENCE_VARIABLE = "ATTN_STORAGE_PATIENCE"
"""Environment variable with the seconds that a run under way waits, so that child processes inherit them."""
DEFAULT_PATIENCE_SECONDS = 120.0
BRIEF_PATIENCE_SECONDS = 3.0
"""Of a process that has never had an answer, and of a service that others wait for."""
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.1, 5.0
QUIET_SECONDS = 1.0
"""A shorter wait is not announced."""
MOST_DAMAGED_ANSWERS = 5
NOT_FOUND_CODES = ("NoSuchKey", "404")
TRANSIENT_CODES = (
    "InternalError",
    "RequestLimitExceeded",
    "RequestTimeout",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
)
TRANSIENT_STATUSES = (408, 409, 429)
"""409: two conditional writes met."""
PERMANENT_SERVER_STATUSES = (501, 505)
"""What the server does not implement it will not implement later."""
WRONG_CERTIFICATE = ("CERTIFICATE", "WRONG_VERSION_NUMBER", "UNKNOWN_PROTOCOL")

_answered: set[tuple[tuple[str, str], ...]] = set()


class ObjectStoreError(Exception):
    """The object store refuses a request: the reason, and the code and status of its answer if there was one."""

    def __init__(self, reason: str, code: str = "", status: int = 0) -> None:
        self.code, self.status = code, status
        super().__init__(reason)

    @property
    def is_missing(self) -> bool:
        """Whether there is no such object."""
        return self.code in NOT_FOUND_CODES


def set_patience(seconds: float) -> None:
    """From now on, let this process and its children wait so long for the object store, also for its first answer."""
    os.environ[PATIENCE_VARIABLE] = f"{seconds:g}"


@contextlib.contextmanager
def patience(seconds: float) -> Generator[None]:
    """For the time of the body, let it wait so long for the object store, also for its first answer.

    Bodies may overlap in threads: each waits as long as it says itself. Threads and processes that they start wait as
    long as the most patient one that is under way, since the environment tells them.
    """
    _underway.enter(run := _run.get() or _Run(), seconds)
    token = _run.set(run)
    try:
        yield
    finally:
        _run.reset(token)
        _underway.leave(run)


def patience_of(configured: float) -> float:
    """Seconds that a run waits: as its config says, and where that says nothing of its own, as the environment says."""
    given = _parsed(_underway.outside())
    return configured if given is None or configured != DEFAULT_PATIENCE_SECONDS else given


def longest_wait() -> float:
    """Seconds that a request of this process waits for an object store that has answered before."""
    return _limit(first=False)


def tell_by(tell: Callable[[str], None]) -> None:
    """From now on, tell of waits in this process by a function, in place of the command's progress."""
    _outage.tell, _outage.pid = tell, os.getpid()


def call(location: str, request: Callable[[Any], T], *, attempts: int = 1) -> T:
    """Send a request to the object store, again and again while the store is away.

    Args:
        location: What it is about, for the message.
        request: Sends it by the client that it is given, and reads the whole answer. It must be safe to repeat: the
            first one may have been carried out, and its answer lost.
        attempts: How often the client sends each part of a request that sends many.

    Raises:
        ObjectStoreError: The store refuses, its settings are wrong, or the object stays damaged.
        StorageAwayError: It did not answer for as long as this process waits.
    """
    wait = _Wait(location)
    try:
        while True:
            given = settings()
            first = _given() is None and given not in _answered
            try:
                result = request(client(attempts=attempts, brief=first))
            except AttnError:
                raise
            except Exception as error:
                if not is_transient(error):
                    code, status = _answer_of(error)
                    if status:
                        _answered.add(given)
                    raise ObjectStoreError(reason(error), code, status) from None
                wait.again(error, first=first)
            else:
                _answered.add(given)
                wait.answered()
                return result
    finally:
        wait.end()


def is_transient(error: BaseException) -> bool:
    """Return whether the same request may succeed later without anybody having changed anything."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import ClientError, CredentialRetrievalError, HTTPClientError, IncompleteReadError
    from botocore.exceptions import ConnectionError as ConnectionFailure
    from botocore.exceptions import SSLError as EncryptionError

    match error:
        case ClientError():
            code, status = _answer_of(error)
            server = status >= 500 and status not in PERMANENT_SERVER_STATUSES
            return server or status in TRANSIENT_STATUSES or code in TRANSIENT_CODES
        case EncryptionError():
            return not any(word in str(error).upper() for word in WRONG_CERTIFICATE)
        case Boto3Error():  # of a transfer in parts
            inner = getattr(error, "last_exception", None) or error.__cause__ or error.__context__
            return inner is not None and is_transient(inner)
        case _:
            kinds = (ConnectionFailure, HTTPClientError, IncompleteReadError, CredentialRetrievalError)
            return isinstance(error, (*kinds, ConnectionError, TimeoutError)) or _is_damaged(error)


class _Wait:
    """The waits of one request."""

    def __init__(self, location: str) -> None:
        self.location = location
        self.since: float | None = None
        self.tries, self.damaged = 0, 0

    def again(self, error: Exception, *, first: bool) -> None:
        """Sleep until the request may be sent again.

        Raises:
            StorageAwayError: It may not.
            ObjectStoreError: The store does answer, and what it sends stays damaged.
        """
        now = time.monotonic()
        if self.since is None:
            self.since = now
            _outage.begin(now)
        self.tries += 1
        self.damaged += _is_damaged(error)
        limit = _limit(first=first)
        left = self.since + limit - now
        if self.damaged >= MOST_DAMAGED_ANSWERS or (left <= 0 and self.damaged == self.tries):
            raise ObjectStoreError("what the object store sends differs from its checksum, each time") from None
        if left <= 0:
            tried = f"; tried for {duration(now - self.since)}" if now - self.since >= FIRST_WAIT_SECONDS else ""
            raise StorageAwayError(f"{self.location}: {reason(error)}{tried}") from None
        _outage.waits(now, reason(error), limit)
        longest = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2**self.tries)
        time.sleep(min(left, random.uniform(longest / 2, longest)))

    def answered(self) -> None:
        if self.since is not None:
            _outage.over(time.monotonic())

    def end(self) -> None:
        if self.since is not None:
            _outage.end()


class _Outage:
    """The time in which threads of this process wait for the object store: a line at its begin, and one at its end."""

    def __init__(self) -> None:
        self.tell: Callable[[str], None] = _tell
        self.pid = 0
        self._lock = threading.Lock()
        self._waiting, self._since, self._announced = 0, 0.0, False

    def begin(self, now: float) -> None:
        with self._lock:
            if self._waiting == 0:
                self._since, self._announced = now, False
            self._waiting += 1

    def waits(self, now: float, why: str, limit: float) -> None:
        with self._lock:
            if self._announced or now - self._since < QUIET_SECONDS:
                return
            self._announced = True
        self._say(f"{why}: trying again for up to {duration(limit)}; Ctrl-C ends")

    def over(self, now: float) -> None:
        with self._lock:
            announced, since = self._announced, self._since
            self._announced, self._since = False, now  # of those who still wait
        if announced:
            self._say(f"the object store answers again, after {duration(now - since)}")

    def end(self) -> None:
        with self._lock:
            self._waiting -= 1

    def _say(self, text: str) -> None:
        (self.tell if self.pid == os.getpid() else _tell)(text)


def _tell(text: str) -> None:
    if progress.is_shown():
        progress.say(text)
    else:
        logging.getLogger(__name__).warning(text)


_outage = _Outage()


class _Run:
    """What waits by a patience of its own: the innermost `patience` of a thread, and those around it."""

    def __init__(self) -> None:
        self.seconds: list[float] = []


class _Underway:
    """The runs of this process that wait by a patience of their own. The environment has the longest."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: list[_Run] = []
        self._outside: str | None = None

    def enter(self, run: _Run, seconds: float) -> None:
        with self._lock:
            if not self._runs:
                self._outside = os.environ.get(PATIENCE_VARIABLE)
            if run not in self._runs:
                self._runs.append(run)
            run.seconds.append(seconds)
            set_patience(max(run.seconds[-1] for run in self._runs))

    def leave(self, run: _Run) -> None:
        with self._lock:
            run.seconds.pop()
            if not run.seconds:
                self._runs.remove(run)
            if self._runs:
                set_patience(max(run.seconds[-1] for run in self._runs))
            elif self._outside is None:
                os.environ.pop(PATIENCE_VARIABLE, None)
            else:
                os.environ[PATIENCE_VARIABLE] = self._outside

    def outside(self) -> str | None:
        """What the environment says apart from these runs."""
        with self._lock:
            return self._outside if self._runs else os.environ.get(PATIENCE_VARIABLE)


_run: ContextVar[_Run | None] = ContextVar("run", default=None)
_underway = _Underway()


def _given() -> float | None:
    """Seconds that this thread's run waits by, or else those that the environment names.

    Raises:
        ConfigError: It names something else.
    """
    run = _run.get()
    if run is not None and run.seconds:  # a thread with a copy of the context may outlive the run
        return run.seconds[-1]
    return _parsed(os.environ.get(PATIENCE_VARIABLE))


def _parsed(text: str | None) -> float | None:
    if text is None:
        return None
    with contextlib.suppress(ValueError):
        if 0 <= (seconds := float(text)) < math.inf:
            return seconds
    raise ConfigError(f"{PATIENCE_VARIABLE}={text!r} is no number of seconds: give 120, say, or unset it")


def _limit(*, first: bool) -> float:
    given = _given()
    if given is not None:
        return given
    return BRIEF_PATIENCE_SECONDS if first else DEFAULT_PATIENCE_SECONDS


def _is_damaged(error: BaseException) -> bool:
    """Return whether an answer differs from its checksum."""
    from botocore.exceptions import FlexibleChecksumError

    return isinstance(error, FlexibleChecksumError)


def _answer_of(error: BaseException) -> tuple[str, int]:
    """Error code and HTTP status of an answer; empty and 0 for errors without one."""
    answer = getattr(error, "response", None) or {}
    code = str(answer.get("Error", {}).get("Code", ""))
    return code, int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
