"""Checks and plans submissions in separate processes with limited time and memory.

A submission may name any file and any size before it is refused, so the service process neither opens nor computes
anything of it. The processes are forked from a fork server that has imported PyTorch; `warm_up` starts it.
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
"""Submissions that are checked at the same time."""
START_SECONDS = 300.0
"""Time for starting a process: the fork server imports PyTorch first, which takes minutes on a busy machine."""
BEGIN_SECONDS = 60.0
"""Time until a forked process reports that it has begun."""
END_SECONDS = 10.0
"""Time until the end of a killed process is known."""
ANSWER_BYTES = 8 << 20
PRELOADED = [
    "services.planning", "services.plan", "services.pages.read_run", "services.pages.read_maps", "services.cli.main",
]  # fmt: skip
"""Modules that the fork server imports; the last is `__main__` of the service."""
BEGUN = b"."
FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Signals that come from outside the process; the kernel sends SIGKILL when memory runs out."""


class RefusedError(AttnError):
    """A submission that cannot become a job although its config is valid; the message says why."""

    code = "refused"


class BusyError(AttnError):
    """Too many submissions are being checked."""

    code = "busy"


class PlanningError(AttnError):
    """A submission could not be checked for reasons outside it; the client may send it again."""

    code = "planning"


@dataclass(frozen=True)
class Limits:
    """Limits on checking one submission.

    Attributes:
        seconds: Time for the answer, once the process has begun.
        cpu_seconds: CPU time of the process.
        memory: Bytes of memory beyond what the imports take.
        files: Open files.
    """

    seconds: float = 120.0
    cpu_seconds: int = 60
    memory: int = 2 << 30
    files: int = 256


def warm_up() -> None:
    """Start the fork server, so that the first submission need not wait for its imports.

    If it fails, the first submission starts the fork server. Call it before the service lowers its own priority: a
    process inherits the priority, and would import for minutes while a training uses all cores.
    """
    multiprocessing.get_context("forkserver").set_forkserver_preload(PRELOADED)
    with contextlib.suppress(OSError):
        forkserver.ensure_running()


class Planner:
    """Checks and plans the submissions to one service."""

    def __init__(self, root: str, data_roots: tuple[str, ...] = (), limits: Limits | None = None) -> None:
        self.permissions, self.limits = (root, data_roots), limits or Limits()

    def check(self, submission: Submission) -> int | None:
        """Check that a submission can become a job.

        Returns:
            Cores of this machine that it needs if it runs here, as `cores_of`.

        Raises:
            ConfigError: With all faults.
            RefusedError: The check exceeded its limits, or something that the job needs does not exist.
            PlanningError: The checking process was killed or gave no valid answer.
        """
        cores = self._ask("check", submission).get("cores")
        return cores if isinstance(cores, int) else None

    def plan(self, submission: Submission) -> dict[str, Any]:
        """Describe what a job will run; raises as `check`."""
        return self._ask("plan", submission)

    def _ask(self, what: str, submission: Submission) -> dict[str, Any]:
        with self._process(what, submission) as (process, answers):
            answer = self._answer(process, answers)
        if answer.faults is not None:
            raise ConfigError([Fault(*fault) for fault in answer.faults])
        if answer.error is not None:
            raise RefusedError(answer.error)
        return answer.value or {}

    @contextlib.contextmanager
    def _process(self, what: str, submission: Submission) -> Generator[tuple[BaseProcess, Any]]:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        ours, theirs = context.Pipe(duplex=False)
        niceness = os.getpriority(os.PRIO_PROCESS, 0)  # on Linux that of this thread
        arguments = (theirs, what, submission.model_dump_json(), *self.permissions, self.limits, niceness)
        process = context.Process(target=_look, args=arguments, name="attn-planning", daemon=True)
        with ours:
            with theirs:
                _start(process)
            try:
                yield process, ours
            finally:
                _end(process)

    def _answer(self, process: BaseProcess, answers: Any) -> _Answer:
        """Read a process's answer as JSON. The process is not trusted, so its answer is never unpickled."""
        limits = self.limits
        try:
            if _read(answers, BEGIN_SECONDS, len(BEGUN)) is None:
                raise PlanningError("the service could not start to check it: its machine is too busy; try again")
            line = _read(answers, limits.seconds, ANSWER_BYTES)
            if line is None:
                raise RefusedError(f"checking it took more than {limits.seconds:g} seconds: {_WAYS}")
            return _Answer.model_validate_json(line)
        except (EOFError, OSError, ValueError):
            pass
        process.join(1.0)
        code = process.exitcode or 0
        if code == -signal.SIGXCPU:
            raise RefusedError(f"checking it took more than {limits.cpu_seconds} s of CPU time: {_WAYS}")
        if code < 0 and -code not in FROM_OUTSIDE:
            raise RefusedError(f"checking it ended with {signal_name(-code)}: {_WAYS}")
        how = f"was ended by {signal_name(-code)}" if code < 0 else "ended without an answer"
        raise PlanningError(
            f"the process that checked it {how}: try again; if that does not help, see the service's log, and how "
            "much memory its machine has left"
        )


class _Answer(BaseModel):
    """A process's answer: one of the fields."""

    model_config = ConfigDict(extra="forbid", strict=True)

    value: dict[str, Any] | None = None
    error: str | None = None
    faults: list[tuple[str, str, str]] | None = None


def _start(process: BaseProcess) -> None:
    """Start a process through the fork server, which multiprocessing restarts if it has ended.

    Raises:
        PlanningError: The fork server was killed meanwhile, or does not answer.
    """
    patience = threading.Timer(START_SECONDS, _end_server)
    patience.daemon = True
    patience.start()
    try:
        process.start()
    except (EOFError, OSError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise PlanningError(f"the service could not start to check it ({reason}): try again") from None
    finally:
        patience.cancel()


def _end(process: BaseProcess) -> None:
    if process.exitcode is None:  # otherwise its process id may belong to another process by now
        process.kill()
    process.join(END_SECONDS)
    if process.exitcode is None:  # the fork server does not report its end
        _end_server()
        process.join(END_SECONDS)
    with contextlib.suppress(ValueError):
        process.close()


def _end_server() -> None:
    """Kill the fork server, so that a new one is started for the next process."""
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if any("multiprocessing.forkserver" in word for word in child.cmdline()):
                child.kill()


def _read(answers: Any, seconds: float, most: int) -> bytes | None:
    """Read from a process up to `most` bytes or the end of a line; None if that takes more than `seconds`.

    Raises:
        EOFError: The process ended before.
        ValueError: The line is longer.
    """
    until, line = time.monotonic() + seconds, bytearray()
    while len(line) < most:
        if not answers.poll(max(0.0, until - time.monotonic())):
            return None
        piece = os.read(answers.fileno(), min(most - len(line), 1 << 16))
        if not piece:
            raise EOFError
        line += piece
        if piece.endswith(b"\n"):
            return bytes(line)
    if most > len(BEGUN):
        raise ValueError
    return bytes(line)


_WAYS = "submit a smaller config or sweep, or less data"


def _look(
    answers: Any, what: str, text: str, root: str, data_roots: tuple[str, ...], limits: Limits, niceness: int
) -> None:
    from services.admission import admit
    from services.permissions import Permissions
    from services.plan import cores_of, plan_of

    os.setpriority(os.PRIO_PROCESS, 0, max(niceness, os.getpriority(os.PRIO_PROCESS, 0)))
    os.write(answers.fileno(), BEGUN)
    _limit(limits)
    limit_reading((root, *data_roots))
    submission, permissions = Submission.model_validate_json(text), Permissions(root, data_roots)
    try:
        if what == "plan":
            answer = _Answer(value=plan_of(submission, permissions))
        else:
            answer = _Answer(value={"cores": cores_of(admit(submission, permissions))})
    except ConfigError as error:
        answer = _Answer(faults=[(fault.where, fault.message, fault.hint) for fault in error.faults])
    except AttnError as error:
        answer = _Answer(error=str(error))
    except Exception as error:
        if not _is_of_limits(error):
            raise
        used = f"more than {limits.memory >> 20} MiB of memory, or {limits.files} open files"
        answer = _Answer(error=f"checking it took {used}: {_WAYS}")
    with open(answers.fileno(), "wb", closefd=False) as stream:
        stream.write(json.dumps(answer.model_dump(), ensure_ascii=False).encode(errors="replace") + b"\n")


def _limit(limits: Limits) -> None:
    _lower(resource.RLIMIT_CPU, limits.cpu_seconds, beyond=5)  # SIGXCPU comes before the kill, so the cause is known
    _lower(resource.RLIMIT_NOFILE, limits.files)
    _lower(resource.RLIMIT_CORE, 0)
    if sys.platform == "linux":  # other systems do not count a process's data
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text("ascii").splitlines())
        _lower(resource.RLIMIT_DATA, int(status["VmData"].split()[0]) * 1024 + limits.memory)


def _lower(what: int, most: int, beyond: int = 0) -> None:
    hard = resource.getrlimit(what)[1]
    soft, last = (one if hard == resource.RLIM_INFINITY else min(one, hard) for one in (most, most + beyond))
    resource.setrlimit(what, (soft, last))


def _is_of_limits(error: Exception) -> bool:
    """Return whether an error means that a resource limit was reached; each library has a class of its own for it."""
    if isinstance(error, OSError):
        return error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
    return isinstance(error, MemoryError) or any(word in str(error).lower() for word in ("memory", "new thread"))
