"""Looks at submissions in processes of their own, which may take so much time and memory and no more.

A submission names files, and its config may ask for anything before it is refused: the service itself opens and
computes none of it. The processes are copies of one that has the imports, which takes seconds: `warm_up` begins it.
"""

from __future__ import annotations

__all__ = ["AT_ONCE", "BusyError", "Limits", "Planner", "PlanningError", "RefusedError", "warm_up"]

import contextlib
import errno
import json
import multiprocessing
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Generator
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import psutil
from pydantic import BaseModel, ConfigDict

from attn.errors import AttnError, ConfigError, Fault
from attn.files.roots import limit_reading
from services.runner import signal_name
from services.submission import Submission

AT_ONCE = 2
"""Submissions that are looked at at a time."""
START_SECONDS = 300.0
"""The first process imports PyTorch, which takes minutes on a machine that computes something else."""
BEGIN_SECONDS = 60.0
"""Until a copy of that process says that it has begun."""
END_SECONDS = 10.0
"""Until the end of a process that was killed is known."""
ANSWER_BYTES = 8 << 20
PRELOADED = ["services.planning", "services.plan", "services.cli.main"]
"""What every process would import; the last is `__main__` of the service."""
BEGUN = b"."
FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Signals that a process does not bring upon itself; the kernel sends the first where memory runs out."""


class RefusedError(AttnError):
    """A submission that cannot become a job, by no fault of its config; the text says why."""

    code = "refused"


class BusyError(AttnError):
    """Too many submissions are looked at."""

    code = "busy"


class PlanningError(AttnError):
    """A submission could not be looked at, for no reason that lies in it: it may be sent again."""

    code = "planning"


@dataclass(frozen=True)
class Limits:
    """What looking at a submission may take.

    Attributes:
        seconds: Until the answer, once it has begun.
        cpu_seconds: Of its process.
        memory: Bytes, beside what the imports take.
        files: Open at a time.
    """

    seconds: float = 120.0
    cpu_seconds: int = 60
    memory: int = 2 << 30
    files: int = 256


def warm_up() -> None:
    """Begin with the imports, so that the first submission need not wait for them; where that fails, it tries again.

    Called before a service gives way to what its machine computes: a process inherits that, and imports by it for
    minutes where a training takes all cores.
    """
    multiprocessing.get_context("forkserver").set_forkserver_preload(PRELOADED)
    with contextlib.suppress(OSError):
        forkserver.ensure_running()


class Planner:
    """Checks and plans the submissions to one service."""

    def __init__(self, root: str, data_roots: tuple[str, ...] = (), limits: Limits | None = None) -> None:
        self.permissions, self.limits = (root, data_roots), limits or Limits()

    def check(self, submission: Submission) -> None:
        """Refuse what cannot become a job.

        Raises:
            ConfigError: With all faults.
            RefusedError: It takes more than it may, or what it needs is not there.
            PlanningError: The process that looked at it is gone, or did not answer as one.
        """
        self._ask("check", submission)

    def plan(self, submission: Submission) -> dict[str, Any]:
        """What a job will take; raises as `check`."""
        return self._ask("plan", submission)

    def _ask(self, what: str, submission: Submission) -> dict[str, Any]:
        with self._process(what, submission) as (process, answers):
            told = self._answer(process, answers)
        if told.faults is not None:
            raise ConfigError([Fault(*fault) for fault in told.faults])
        if told.error is not None:
            raise RefusedError(told.error)
        return told.value or {}

    @contextlib.contextmanager
    def _process(self, what: str, submission: Submission) -> Generator[tuple[BaseProcess, Any]]:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        ours, theirs = context.Pipe(duplex=False)
        niceness = os.getpriority(os.PRIO_PROCESS, 0)  # on Linux the thread's
        arguments = (theirs, what, submission.model_dump_json(), *self.permissions, self.limits, niceness)
        process = context.Process(target=_look, args=arguments, name="attn-planning", daemon=True)
        with ours:
            with theirs:
                _start(process)
            try:
                yield process, ours
            finally:
                _end(process)

    def _answer(self, process: BaseProcess, answers: Any) -> _Told:
        """What a process says, as JSON: it may have been led to anything, and nothing of it is unpickled here."""
        limits = self.limits
        try:
            if _read(answers, BEGIN_SECONDS, len(BEGUN)) is None:
                raise PlanningError("the service could not begin to look at it: its machine is too busy; try again")
            said = _read(answers, limits.seconds, ANSWER_BYTES)
            if said is None:
                raise RefusedError(f"looking at it took more than {limits.seconds:g} seconds: {_WAYS}")
            return _Told.model_validate_json(said)
        except (EOFError, OSError, ValueError):
            pass
        process.join(1.0)
        code = process.exitcode or 0
        if code == -signal.SIGXCPU:
            raise RefusedError(f"looking at it took more than {limits.cpu_seconds} s of a processor: {_WAYS}")
        if code < 0 and -code not in FROM_OUTSIDE:
            raise RefusedError(f"looking at it ended by {signal_name(-code)}: {_WAYS}")
        how = f"was ended by {signal_name(-code)}" if code < 0 else "ended without an answer"
        raise PlanningError(
            f"the process that looked at it {how}: try again; if that does not help, see the service's log, and how "
            "much memory its machine has left"
        )


class _Told(BaseModel):
    """What a process says; one of the fields."""

    model_config = ConfigDict(extra="forbid", strict=True)

    value: dict[str, Any] | None = None
    error: str | None = None
    faults: list[tuple[str, str, str]] | None = None


def _start(process: BaseProcess) -> None:
    """Start a process as a copy of the one that has the imports, which is made anew where it has ended.

    Raises:
        PlanningError: That one is ended meanwhile, or does not answer.
    """
    patience = threading.Timer(START_SECONDS, _end_server)
    patience.daemon = True
    patience.start()
    try:
        process.start()
    except (EOFError, OSError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise PlanningError(f"the service could not begin to look at it ({reason}): try again") from None
    finally:
        patience.cancel()


def _end(process: BaseProcess) -> None:
    if process.exitcode is None:  # else its number may be another's by now
        process.kill()
    process.join(END_SECONDS)
    if process.exitcode is None:  # the one that it was a copy of does not say
        _end_server()
        process.join(END_SECONDS)
    with contextlib.suppress(ValueError):
        process.close()


def _end_server() -> None:
    """Kill the process that others are copies of, so that the next is made anew."""
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if any("multiprocessing.forkserver" in word for word in child.cmdline()):
                child.kill()


def _read(answers: Any, seconds: float, most: int) -> bytes | None:
    """What a process says, up to so many bytes or the end of a line; None where that does not come in time.

    Raises:
        EOFError: It ends before.
        ValueError: It says more.
    """
    until, said = time.monotonic() + seconds, bytearray()
    while len(said) < most:
        if not answers.poll(max(0.0, until - time.monotonic())):
            return None
        piece = os.read(answers.fileno(), min(most - len(said), 1 << 16))
        if not piece:
            raise EOFError
        said += piece
        if piece.endswith(b"\n"):
            return bytes(said)
    if most > len(BEGUN):
        raise ValueError
    return bytes(said)


_WAYS = "give a smaller config or sweep, or less data to look at"


def _look(
    answers: Any, what: str, text: str, root: str, data_roots: tuple[str, ...], limits: Limits, niceness: int
) -> None:
    from services.admission import admit
    from services.permissions import Permissions
    from services.plan import plan_of

    os.setpriority(os.PRIO_PROCESS, 0, max(niceness, os.getpriority(os.PRIO_PROCESS, 0)))
    os.write(answers.fileno(), BEGUN)
    _limit(limits)
    limit_reading((root, *data_roots))
    submission, permissions = Submission.model_validate_json(text), Permissions(root, data_roots)
    try:
        if what == "plan":
            told = _Told(value=plan_of(submission, permissions))
        else:
            admit(submission, permissions)
            told = _Told(value={})
    except ConfigError as error:
        told = _Told(faults=[(fault.where, fault.message, fault.hint) for fault in error.faults])
    except AttnError as error:
        told = _Told(error=str(error))
    except Exception as error:
        if not _is_of_limits(error):
            raise
        told = _Told(error=f"looking at it took more than {limits.memory >> 20} MiB of memory, or {limits.files} open "
                           f"files: {_WAYS}")  # fmt: skip
    with open(answers.fileno(), "wb", closefd=False) as stream:
        stream.write(json.dumps(told.model_dump(), ensure_ascii=False).encode(errors="replace") + b"\n")


def _limit(limits: Limits) -> None:
    _lower(resource.RLIMIT_CPU, limits.cpu_seconds, beyond=5)  # to be told from a kill
    _lower(resource.RLIMIT_NOFILE, limits.files)
    _lower(resource.RLIMIT_CORE, 0)
    if sys.platform == "linux":  # elsewhere nothing counts what a process has taken
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text("ascii").splitlines())
        _lower(resource.RLIMIT_DATA, int(status["VmData"].split()[0]) * 1024 + limits.memory)


def _lower(what: int, most: int, beyond: int = 0) -> None:
    hard = resource.getrlimit(what)[1]
    soft, last = (one if hard == resource.RLIM_INFINITY else min(one, hard) for one in (most, most + beyond))
    resource.setrlimit(what, (soft, last))


def _is_of_limits(error: Exception) -> bool:
    """Whether an error says that a process may take no more; each library has a class of its own for it."""
    if isinstance(error, OSError):
        return error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
    return isinstance(error, MemoryError) or any(word in str(error).lower() for word in ("memory", "new thread"))
