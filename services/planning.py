"""Looks at submissions in processes of their own, which may take so much time and memory and no more.

A submission names files, and its config may ask for anything before it is refused: the service itself opens and
computes none of it. The processes are copies of one that has the imports, made when the first is asked for.
"""

from __future__ import annotations

__all__ = ["BusyError", "Limits", "Planner", "RefusedError"]

import contextlib
import errno
import json
import multiprocessing
import resource
import signal
import sys
import threading
from collections.abc import Generator
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from attn.data.roots import limit_reading
from attn.errors import AttnError, ConfigError, Fault
from services.submission import Submission

AT_ONCE = 2
"""Submissions that are looked at at a time."""
WAIT_SECONDS = 60.0
"""How long others wait for their turn."""
START_SECONDS = 300.0
"""The first process imports PyTorch, which takes minutes on a machine that computes something else."""
ANSWER_BYTES = 8 << 20


class RefusedError(AttnError):
    """A submission that cannot become a job, by no fault of its config; the text says why."""

    code = "refused"


class BusyError(AttnError):
    """Too many submissions are looked at."""

    code = "busy"


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


class Planner:
    """Checks and plans the submissions to one service."""

    def __init__(self, root: str, data_roots: tuple[str, ...] = (), limits: Limits | None = None) -> None:
        self.reach, self.limits = (root, data_roots), limits or Limits()
        self.turns = threading.BoundedSemaphore(AT_ONCE)

    def check(self, submission: Submission) -> None:
        """Refuse what cannot become a job.

        Raises:
            ConfigError: With all faults.
            RefusedError: It takes more than it may, or what it needs is not there.
            BusyError: Too many are looked at.
        """
        self._ask("check", submission)

    def plan(self, submission: Submission) -> dict[str, Any]:
        """What a job will take; raises as `check`."""
        return self._ask("plan", submission)

    def _ask(self, what: str, submission: Submission) -> Any:
        if not self.turns.acquire(timeout=WAIT_SECONDS):
            raise BusyError("the service is looking at other submissions; try again in a minute")
        try:
            with self._process(what, submission) as (process, answers):
                told = self._answer(process, answers)
        finally:
            self.turns.release()
        if "faults" in told:
            raise ConfigError([Fault(*fault) for fault in told["faults"]])
        if "error" in told:
            raise RefusedError(told["error"])
        return told["value"]

    @contextlib.contextmanager
    def _process(self, what: str, submission: Submission) -> Generator[tuple[BaseProcess, Any]]:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["services.plan", "attn.cli.main"])  # which is `__main__` of the service
        ours, theirs = context.Pipe(duplex=False)
        arguments = (theirs, what, submission.model_dump_json(), *self.reach, self.limits)
        process = context.Process(target=_look, args=arguments, name="attn-planning", daemon=True)
        with ours:
            with theirs:
                process.start()
            try:
                yield process, ours
            finally:
                process.kill()
                process.join()
                process.close()

    def _answer(self, process: BaseProcess, answers: Any) -> dict[str, Any]:
        """What a process says, as JSON: it may have been led to anything, and nothing of it is unpickled here."""
        limits = self.limits
        try:
            if not answers.poll(START_SECONDS):
                raise RefusedError("the service could not begin to look at it: its machine is too busy; try again")
            answers.recv_bytes()
            if not answers.poll(limits.seconds):
                raise RefusedError(f"looking at it took more than {limits.seconds:g} seconds: {_WAYS}")
            return json.loads(answers.recv_bytes(ANSWER_BYTES))
        except (EOFError, OSError):
            pass
        process.join(1.0)
        match process.exitcode:
            case code if code == -signal.SIGXCPU:
                raise RefusedError(f"looking at it took more than {limits.cpu_seconds} s of a processor: {_WAYS}")
            case code if code is not None and code < 0:
                raise RefusedError(f"looking at it ended by {signal.Signals(-code).name}: {_WAYS}")
            case _:
                raise RuntimeError("the process that looks at submissions ended without a word; see above")


_WAYS = "give a smaller config or sweep, or less data to look at"


def _look(answers: Any, what: str, text: str, root: str, data_roots: tuple[str, ...], limits: Limits) -> None:
    from services.admission import admit
    from services.plan import plan_of
    from services.reach import Reach

    answers.send_bytes(b"begun")
    _limit(limits)
    limit_reading((root, *data_roots))
    submission, reach = Submission.model_validate_json(text), Reach(root, data_roots)
    try:
        told: dict[str, Any] = {
            "value": plan_of(submission, reach) if what == "plan" else bool(admit(submission, reach))
        }
    except ConfigError as error:
        told = {"faults": [(fault.where, fault.message, fault.hint) for fault in error.faults]}
    except AttnError as error:
        told = {"error": str(error)}
    except Exception as error:
        if not _is_of_limits(error):
            raise
        told = {"error": f"looking at it took more than {limits.memory >> 20} MiB of memory, or {limits.files} open "
                         f"files: {_WAYS}"}  # fmt: skip
    answers.send_bytes(json.dumps(told).encode())


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
