"""A task in words that fit a width."""

from __future__ import annotations

__all__ = ["Row", "clock", "last_line", "line", "row_of"]

from dataclasses import dataclass

from attn.display import duration
from attn.progress.task import Task

LEAST_BAR, LONGEST_BAR = 10, 40
LEAST_NAME, LONGEST_NAME = 10, 24
GAP = "  "


@dataclass(frozen=True)
class Row:
    """A task on one row of a terminal.

    Attributes:
        name: What is done.
        bar: Width of the bar; 0: there is none.
        words: What stands behind the bar.
    """

    name: str
    bar: int
    words: str

    @property
    def width(self) -> int:
        return len(self.name) + (self.bar + 1 if self.bar else 0) + (len(self.words) + 1 if self.words else 0)


def clock(seconds: float) -> str:
    """`0:05`, `12:34` or `1:02:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def row_of(task: Task, width: int) -> Row:
    """A task on one row that is no wider than the terminal.

    Of what does not fit, first the unit of the count goes, then speed, count and bar; the name is cut last.
    """
    left, share = task.seconds_left(), task.share()
    percent = "" if share is None else f"{100 * share:3.0f}%"
    time = (f"ETA {clock(left)}" if left is not None else "") if task.total else clock(task.seconds())
    choices = [
        (percent, _count(task), task.speed_text(), time),
        (percent, _count(task, short=True), task.speed_text(), time),
        (percent, _count(task, short=True), "", time),
        (percent, "", "", time),
    ]
    name = _cut(task.what, LONGEST_NAME)
    for choice in choices:
        words = GAP.join(filter(None, choice))
        room = width - len(name) - 1 - (len(words) + 1 if words else 0)
        if share is None:
            if room >= 0:
                return Row(name, 0, words)
        elif room >= LEAST_BAR:
            return Row(name, min(room, LONGEST_BAR), words)
    words = GAP.join(filter(None, (percent, time)))
    return Row(_cut(name, max(1, width - len(words) - 1)), 0, words if len(words) + 2 <= width else "")


def line(task: Task) -> str:
    """A task in a line of a log."""
    if not task.unit and not task.detail:
        return f"still {task.what}: {clock(task.seconds())}"
    share, left = task.share(), task.seconds_left()
    parts = [
        _count(task) + (f" ({100 * share:.0f} %)" if share is not None else ""),
        task.speed_text(),
        f"ETA {clock(left)}" if left is not None else "",
        task.detail,
    ]
    return f"{task.what}: {', '.join(filter(None, parts)) or clock(task.seconds())}"


def last_line(task: Task, *, failed: bool) -> str:
    """What remains of a task that counted something and has ended."""
    count, lasted = _count(task), duration(task.seconds()) or "0 s"
    if failed:
        return f"{task.what}: stopped at {count} after {lasted}"
    if task.total and task.done >= task.total:
        count = _count(task, total=False)
    kept = f", {_amount(task.kept, task.unit)} of them in an earlier attempt" if task.kept else ""
    return f"{task.what}: {count} in {lasted}{kept}"


def _count(task: Task, *, short: bool = False, total: bool = True) -> str:
    if not task.unit:
        return ""
    done, all_of_it = _amount(task.done, task.unit), _amount(task.total or 0, task.unit)
    count = (f"{done}/{all_of_it}" if short else f"{done} of {all_of_it}") if task.total and total else done
    unit = "MiB" if task.unit == "bytes" else task.unit
    return count if short else f"{count} {unit}"


def _amount(value: float, unit: str) -> str:
    return f"{value / 2**20:.1f}" if unit == "bytes" else str(int(value))


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
