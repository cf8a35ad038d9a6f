"""Where reports of long work go: to the view that is shown, or nowhere."""

from __future__ import annotations

__all__ = ["QUIET_SECONDS", "View", "is_shown", "opening", "reading", "say", "shown", "steps_of", "task"]

import os
from collections.abc import Generator, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Protocol, TypeVar

from attn.progress.task import Task

T = TypeVar("T")
READING_SECONDS = 2.0
QUIET_SECONDS = 5.0
"""Work without a line of its own is shown once it takes longer."""


class View(Protocol):
    """Shows tasks and lines of text."""

    def begin(self, task: Task) -> None:
        """Show a task until it ends."""
        ...

    def changed(self, task: Task) -> None:
        """React to a report."""
        ...

    def end(self, task: Task, *, failed: bool) -> None:
        """Leave a last line about a task.

        Args:
            failed: An exception ended it.
        """
        ...

    def say(self, text: str) -> None:
        """Print lines of text."""
        ...

    def close(self) -> None:
        """Leave the terminal as it was."""
        ...


class _Shown:
    """The view of this process. A forked process has none: it would draw over its parent."""

    view: View | None = None
    pid = 0
    opening: ExitStack | None = None


@contextmanager
def shown(view: View | None = None) -> Generator[None]:
    """Show the progress of all work in the body.

    Args:
        view: By default bars on standard error if that is a terminal, else plain lines.
    """
    if view is None:
        from attn.progress.streams import StandardError

        view = StandardError()
    before = (_Shown.view, _Shown.pid)
    _Shown.view, _Shown.pid = view, os.getpid()
    try:
        yield
    finally:
        _Shown.view, _Shown.pid = before
        view.close()


def is_shown() -> bool:
    """Whether reports are shown at all; without, work need not find out its total."""
    return _current() is not None


@contextmanager
def task(
    what: str, total: float | None = None, unit: str = "", *, patience: float = 0.0, timed: bool = True
) -> Generator[Task]:
    """Report the work of the body; see `Task` for the arguments."""
    reported = Task(what, total, unit, patience=patience, timed=timed)
    if (view := _current()) is None:
        yield reported
        return
    if (first := _Shown.opening) is not None:
        _Shown.opening = None
        first.close()
    reported.listener = view.changed
    view.begin(reported)
    failed = True
    try:
        yield reported
        failed = False
    finally:
        view.end(reported, failed=failed)


@contextmanager
def opening(what: str) -> Generator[None]:
    """Report what the body begins with, if it takes more than some seconds: until the body reports other work."""
    with ExitStack() as reported:
        reported.enter_context(task(what, patience=QUIET_SECONDS))
        _Shown.opening = reported
        try:
            yield
        finally:
            _Shown.opening = None


def reading(what: str) -> AbstractContextManager[Task]:
    """Report that the body reads something, if it takes more than a moment."""
    return task(f"reading {what}", patience=READING_SECONDS)


def steps_of(
    items: Iterable[T], what: str, total: float | None = None, unit: str = "", *, patience: float = 0.0
) -> Iterator[T]:
    """The items, each reported once the loop over them asks for the next."""
    with task(what, total, unit, patience=patience) as reported:
        for item in items:
            yield item
            reported.advance()


def say(text: str) -> None:
    """Show a line of text."""
    if (view := _current()) is not None:
        view.say(text)


def _current() -> View | None:
    return _Shown.view if _Shown.pid == os.getpid() else None
