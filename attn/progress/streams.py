"""Views on standard error: bars in a terminal, plain lines everywhere else."""

from __future__ import annotations

__all__ = ["Bars", "Lines", "StandardError"]

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, TextIO

from attn.progress.task import Task
from attn.progress.words import Row, last_line, line, row_of

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live
    from rich.text import Text

LINE_SECONDS = 10.0
LIFE_SECONDS = 30.0
"""Work that counts nothing has a line about this often, so that a log shows that it is still going on."""
REFRESHES = 5
"""Times a second that bars are drawn."""
_GONE = contextlib.suppress(OSError, ValueError)
"""What writing to a standard error raises that is gone: a broken pipe, a full disk, a closed file."""


class StandardError:
    """Bars if standard error is a terminal that can move its cursor, else lines; decided at the first report.

    A standard error that is closed, or whose reader is gone, is no fault of the work: nothing is shown then.
    """

    def __init__(self) -> None:
        self._view: Bars | Lines | None = None

    @property
    def view(self) -> Bars | Lines:
        if self._view is None:
            moves = _is_terminal() and os.environ.get("TERM", "") not in ("", "dumb", "unknown")
            self._view = Bars() if moves else Lines()
        return self._view

    def begin(self, task: Task) -> None:
        with _GONE:
            self.view.begin(task)

    def changed(self, task: Task) -> None:
        with _GONE:
            self.view.changed(task)

    def end(self, task: Task, *, failed: bool) -> None:
        with _GONE:
            self.view.end(task, failed=failed)

    def say(self, text: str) -> None:
        with _GONE:
            self.view.say(text)

    def close(self) -> None:
        if self._view is not None:
            with _GONE:
                self._view.close()


class Lines:
    """A line at most every few seconds, and one at the end of each task that counts something.

    Work without a count has a line at its beginning, or once its patience is over, and then one every half minute.
    """

    def __init__(self, stream: TextIO | None = None, seconds: float = LINE_SECONDS, life: float = LIFE_SECONDS) -> None:
        self.stream, self.seconds, self.life = stream, seconds, life
        self.last = time.monotonic()
        self._lock = threading.Lock()
        self._timers: dict[Task, threading.Timer] = {}

    def begin(self, task: Task) -> None:
        if task.unit:
            return
        begins = f"{task.what} ..."
        with self._lock:
            self._later(task, task.patience or self.life, begins if task.patience else None)
        if not task.patience:
            self.say(begins)

    def changed(self, task: Task) -> None:
        with self._lock:
            now = time.monotonic()
            if now - self.last < self.seconds or task.seconds() < task.patience or task.share() == 1.0:
                return  # of work that is done, the last line follows
            self.last = now
        self._print(line(task))

    def end(self, task: Task, *, failed: bool) -> None:
        with self._lock:
            timer = self._timers.pop(task, None)
        if timer is not None:
            timer.cancel()
        if task.unit and task.seconds() >= task.patience:
            self.say(last_line(task, failed=failed))

    def say(self, text: str) -> None:
        with self._lock:
            self.last = time.monotonic()
        self._print(text)

    def close(self) -> None:
        with self._lock:
            timers, self._timers = self._timers, {}
        for timer in timers.values():
            timer.cancel()

    def _later(self, task: Task, seconds: float, text: str | None = None) -> None:
        """Print a line about a task after so many seconds if it still runs then, and others after it."""
        timer = threading.Timer(seconds, self._still, [task, text])
        timer.daemon = True
        self._timers[task] = timer
        timer.start()

    def _still(self, task: Task, text: str | None) -> None:
        with self._lock:
            if task not in self._timers:  # it has ended just now
                return
            self._later(task, self.life)
        with _GONE:
            self.say(text or line(task))

    def _print(self, text: str) -> None:
        stream = self.stream or sys.stderr
        if stream is not None:  # `print` would take standard output
            print(text, file=stream, flush=True)


class Bars:
    """A row with a bar for each task that runs, below all lines that are printed meanwhile."""

    def __init__(self, console: Console | None = None) -> None:
        from rich.console import Console

        self.console = console or Console(stderr=True, highlight=False)
        self.tasks: list[Task] = []
        self.live: Live | None = None
        self._lock = threading.RLock()

    def begin(self, task: Task) -> None:
        from rich.live import Live

        with _uninterrupted(), self._lock:
            self.tasks.append(task)
            if self.live is None:
                # Standard output may be read by another program, which must not get what is printed here.
                live = Live(
                    get_renderable=self._rows,
                    console=self.console,
                    refresh_per_second=REFRESHES,
                    transient=True,
                    redirect_stdout=False,
                    vertical_overflow="crop",
                )
                live.start()
                self.live = live  # one that could not begin cannot end

    def changed(self, task: Task) -> None: ...

    def end(self, task: Task, *, failed: bool) -> None:
        with _uninterrupted(), self._lock:
            if task in self.tasks:
                self.tasks.remove(task)
            if not self.tasks:
                self.close()
        if task.unit and task.seconds() >= task.patience:
            self.say(last_line(task, failed=failed))

    def say(self, text: str) -> None:
        from rich.text import Text

        self.console.print(Text(text))

    def close(self) -> None:
        """Remove the bars, and show the cursor again."""
        with _uninterrupted(), self._lock:
            live, self.live = self.live, None
            if live is not None:
                live.stop()

    def _rows(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        width = self.console.width - 1  # in the last column some terminals begin a new line
        rows: list[RenderableType] = []
        for task in [one for one in self.tasks if one.seconds() >= one.patience]:
            rows.append(_row(row_of(task, width), task.share()))
            if task.detail:
                detail = Text(f"  {task.detail}", style="dim", no_wrap=True)
                detail.truncate(width, overflow="ellipsis")
                rows.append(detail)
        return Group(*rows)


def _is_terminal() -> bool:
    with _GONE:
        return sys.stderr is not None and sys.stderr.isatty()
    return False


@contextmanager
def _uninterrupted() -> Generator[None]:
    """Let Ctrl-C act after the body: within it, the terminal would keep a hidden cursor."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    pending: list[tuple[int, FrameType | None]] = []
    signal.signal(signal.SIGINT, lambda number, frame: pending.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if pending:
            before(*pending[-1])


def _row(row: Row, share: float | None) -> RenderableType:
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    grid = Table.grid(padding=0)
    cells: list[Text | ProgressBar | str] = [row.name]
    grid.add_column(width=len(row.name) + 1, no_wrap=True)
    if row.bar:
        grid.add_column(width=row.bar)
        cells.append(ProgressBar(total=1.0, completed=share or 0.0, width=row.bar))
    if row.words:
        grid.add_column(width=len(row.words) + 1, no_wrap=True, justify="right")
        cells.append(row.words)
    grid.add_row(*cells)
    return grid
