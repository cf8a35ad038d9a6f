"""Processes that should look at a submission, and do something else; each is started by its name."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

BEGUN = b"."
LINE = b'{"value": {}}\n'


def say(answers: Any, data: bytes) -> None:
    os.write(answers.fileno(), data)


def nothing(answers: Any, *given: object) -> None:
    say(answers, BEGUN)


def exits(answers: Any, *given: object) -> None:
    os._exit(3)


def never_begins(answers: Any, *given: object) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def killed(answers: Any, *given: object) -> None:
    say(answers, BEGUN + LINE[:5])
    os.kill(os.getpid(), signal.SIGKILL)


def told_to_end(answers: Any, *given: object) -> None:
    say(answers, BEGUN)
    os.kill(os.getpid(), signal.SIGTERM)


def crashes(answers: Any, *given: object) -> None:
    say(answers, BEGUN)
    os.kill(os.getpid(), signal.SIGSEGV)


def stopped(answers: Any, *given: object) -> None:
    say(answers, BEGUN + LINE[:5])
    os.kill(os.getpid(), signal.SIGSTOP)


def drips(answers: Any, *given: object) -> None:
    say(answers, BEGUN)
    while True:
        say(answers, b" ")
        time.sleep(0.01)


def floods(answers: Any, *given: object) -> None:
    say(answers, BEGUN)
    while True:
        say(answers, b" " * (1 << 16))


def no_json(answers: Any, *given: object) -> None:
    say(answers, BEGUN + b"\x00\xff\n")


def no_object(answers: Any, *given: object) -> None:
    say(answers, BEGUN + b"[1]\n")


def deep(answers: Any, *given: object) -> None:
    say(answers, BEGUN + b"[" * 60_000 + b"\n")


def half(answers: Any, *given: object) -> None:
    say(answers, BEGUN + LINE[:5])


def other_fields(answers: Any, *given: object) -> None:
    say(answers, BEGUN + b'{"a": 1}\n')


def no_faults(answers: Any, *given: object) -> None:
    say(answers, BEGUN + b'{"faults": [["a"]]}\n')


def answers_well(answers: Any, *given: object) -> None:
    say(answers, BEGUN + LINE)
