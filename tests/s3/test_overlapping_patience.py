"""Runs that overlap in the threads of one process: each waits for the object store as long as it says."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest

from attn.files.patience import PATIENCE_VARIABLE, longest_wait, patience, patience_of

T = TypeVar("T")


class Run:
    """A run in a thread of its own, which a test begins, asks and ends."""

    def __init__(self, seconds: float) -> None:
        self.pool = ThreadPoolExecutor(1)
        self.body = patience(seconds)
        self.ask(self.body.__enter__)

    def ask(self, question: Callable[[], T]) -> T:
        return self.pool.submit(question).result()

    def end(self) -> None:
        self.ask(lambda: self.body.__exit__(None, None, None))
        self.pool.shutdown()


@pytest.fixture(params=[None, "50"])
def outside(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str | None]:
    """What the environment says before and after all runs."""
    monkeypatch.delenv(PATIENCE_VARIABLE, raising=False)
    if request.param is not None:
        monkeypatch.setenv(PATIENCE_VARIABLE, request.param)
    yield request.param
    assert os.environ.get(PATIENCE_VARIABLE) == request.param


def test_each_run_waits_as_long_as_it_says_whichever_ends_first(outside: str | None) -> None:
    for first in (0, 1):
        runs = [Run(30.0), Run(600.0)]
        assert [run.ask(longest_wait) for run in runs] == [30.0, 600.0]
        runs[first].end()
        assert runs[1 - first].ask(longest_wait) == (600.0, 30.0)[first]
        runs[1 - first].end()
    assert longest_wait() == float(outside or 120)


def test_what_runs_start_waits_as_long_as_the_most_patient(outside: str | None) -> None:
    runs = [Run(600.0), Run(30.0)]
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(longest_wait).result() == 600.0
    code = "from attn.files.patience import longest_wait; print(longest_wait())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"600.0\n"
    for run in runs:
        run.end()


def test_a_config_that_says_nothing_is_not_told_by_another_run(outside: str | None) -> None:
    run = Run(600.0)
    assert patience_of(120.0) == float(outside or 120)
    run.end()


def test_the_end_of_a_run_may_be_less_patient(outside: str | None) -> None:
    with patience(120.0):
        with patience(10.0):
            assert longest_wait() == 10.0
            assert os.environ[PATIENCE_VARIABLE] == "10"
        assert longest_wait() == 120.0


def test_many_runs_that_begin_and_end_at_once_leave_nothing(outside: str | None) -> None:
    together, wrong = threading.Barrier(8), list[float]()

    def begin_and_end(seconds: float) -> None:
        together.wait()
        for _ in range(200):
            with patience(seconds):
                if longest_wait() != seconds:
                    wrong.append(seconds)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(begin_and_end, map(float, range(1, 9))))
    assert not wrong
