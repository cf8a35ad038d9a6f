"""Processes that end at a chosen point, the attempts that follow, and the matrix of all points."""

from __future__ import annotations

__all__ = ["GAP", "Outcome", "Target", "matrix", "run_trial"]

import functools
import importlib
import json
import os
import random
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pyarrow as pa

from attn.store.errors import FencedError, StoreError
from attn.store.protocol import failpoints
from benchmarks.store_crash.trial import Trial, attempt, create, inspect

GAP = ("commit.manifest", "checkpoint.writing")
"""The version exists, and no durable checkpoint names it."""

SLOW_TO_BEGIN = ("begin.leased", "write.part", "write.linked")
FENCED, REFUSED, FAULTY = 3, 4, 5


@dataclass
class Outcome:
    """What became of trials.

    Attributes:
        trials: How many it is of.
        broken: How many of them ended with a fault.
        deaths: How often a process was killed at each point.
        zombies: How often one was stopped there and went on during the next attempt.
        faults: What did not hold, in words.
    """

    trials: int = 1
    broken: int = 0
    deaths: Counter[str] = field(default_factory=Counter)
    zombies: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Target:
    """Where an attempt ends: at the `turn`th time that it comes to a point; stopped for a while, or killed."""

    point: str
    turn: int
    stop: bool = False

    def __str__(self) -> str:
        return f"{'stopped' if self.stop else 'killed'} at {self.point} ({self.turn})"


Plan = Callable[[random.Random], Target | None]


def run_trial(trial: Trial, plan: Plan) -> Outcome:
    """A run whose attempts end as planned, until one lives to the end of the run or something does not hold."""
    outcome, rng = Outcome(), random.Random(f"plan {trial.seed}")
    _finish(_start(functools.partial(_created, trial)))
    number, zombie, stopped_at = 0, 0, ""
    while True:
        number += 1
        target = plan(rng)
        (trial.folder / "attempt").write_text(str(number))
        process = _start(functools.partial(_attempt_until, trial, number, target))
        if zombie:
            os.kill(zombie, signal.SIGCONT)
        _, status = os.waitpid(process, os.WUNTRACED)
        if zombie and _finish(zombie) == FAULTY:
            outcome.faults.append(f"the zombie {number - 1} failed: {_note(trial, number - 1)}")
        # A zombie that was stopped before it had begun begins now, and is the newest session: the living one is out.
        overtaken = zombie and stopped_at in SLOW_TO_BEGIN and os.WIFEXITED(status) and os.WEXITSTATUS(status) == FENCED
        ended = os.WIFEXITED(status) and not overtaken
        zombie, stopped_at = (process, target.point) if target and os.WIFSTOPPED(status) else (0, "")
        if ended and os.WEXITSTATUS(status):
            outcome.faults.append(f"attempt {number} failed: {_note(trial, number)}")
        elif target and not os.WIFEXITED(status):
            (outcome.zombies if target.stop else outcome.deaths)[target.point] += 1
        if _finish(_start(functools.partial(_inspect, trial, final=ended))):
            outcome.faults.append(f"after attempt {number}, {target}: {_note(trial, 0)}")
        if ended or outcome.faults:
            if zombie:
                os.kill(zombie, signal.SIGKILL)
                os.waitpid(zombie, 0)
            return outcome


def _created(trial: Trial) -> int:
    create(trial)
    return 0


def _attempt_until(trial: Trial, number: int, target: Target | None) -> int:
    reached: Counter[str] = Counter()

    def handle(point: str) -> None:
        reached[point] += 1
        if target and point == target.point and reached[point] == target.turn:
            os.kill(os.getpid(), signal.SIGSTOP if target.stop else signal.SIGKILL)

    failpoints.install(handle)
    try:
        attempt(trial, number)
    except FencedError as error:
        (trial.folder / f"note{number}").write_text(f"FencedError: {error}")
        return FENCED
    except StoreError as error:
        (trial.folder / f"note{number}").write_text(f"{type(error).__name__}: {error}")
        return REFUSED
    finally:
        (trial.folder / "census.json").write_text(json.dumps(reached))
    return 0


def _inspect(trial: Trial, *, final: bool) -> int:
    faults = inspect(trial, final=final)
    (trial.folder / "note0").write_text("; ".join(faults))
    return FAULTY if faults else 0


def _note(trial: Trial, number: int) -> str:
    path = trial.folder / f"note{number}"
    return path.read_text() if path.exists() else "without a word"


def _start(work: Callable[[], int]) -> int:
    """Do some work in a process of its own, which costs a fork; returns its id."""
    process = os.fork()
    if process:
        return process
    status = FAULTY
    try:
        status = work()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def _finish(process: int) -> int:
    """The exit status of a process; a signal counts as a fault."""
    _, status = os.waitpid(process, 0)
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else FAULTY


def census(trial: Trial) -> Counter[str]:
    """How often an undisturbed run comes to each point."""
    _finish(_start(functools.partial(_created, trial)))
    (trial.folder / "attempt").write_text("1")
    if _finish(_start(functools.partial(_attempt_until, trial, 1, None))):
        raise SystemExit(f"an undisturbed run failed: {_note(trial, 1)}")
    return Counter(json.loads((trial.folder / "census.json").read_text()))


def aimed(counts: Counter[str], *, gap_share: float, stop_share: float, deaths: int) -> Plan:
    """A plan of up to so many deaths: a share of them in the gap, the others anywhere alike."""
    left = [deaths]

    def plan(rng: random.Random) -> Target | None:
        left[0] -= 1
        if left[0] < 0:
            return None
        point = rng.choice(GAP) if rng.random() < gap_share else rng.choice(sorted(counts))
        # A later attempt has less to do and may not come to a late turn.
        return Target(point, rng.randint(1, max(1, counts[point] // 2)), stop=rng.random() < stop_share)

    return plan


def matrix(
    kills: int, places: Callable[[int], Trial], *, gap_share: float = 0.4, stop_share: float = 0.15, seed: int = 0
) -> Outcome:
    """Trials until so many processes were killed, and each point was met.

    Args:
        places: A trial with an empty place of its own, by its seed.
    """
    # What children would import, each again.
    pa.array([0])  # pandas
    first = places(seed)
    if first.uri.startswith("s3://"):
        importlib.import_module("boto3.session")
        importlib.import_module("botocore.client")
    total = Outcome(trials=0)
    counts = census(first)
    for number in range(seed + 1, seed + 1 + 20 * kills):
        trial = places(number)
        result = run_trial(trial, aimed(counts, gap_share=gap_share, stop_share=stop_share, deaths=4))
        total.trials += 1
        total.broken += bool(result.faults)
        total.deaths += result.deaths
        total.zombies += result.zombies
        total.faults += [f"seed {number}: {fault}" for fault in result.faults]
        if total.deaths.total() >= kills:
            return total
    raise SystemExit(f"only {total.deaths.total()} of {kills} kills in {20 * kills} trials")
