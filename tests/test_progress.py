"""Progress of long work: bars that fit a terminal, plain lines elsewhere, and nothing unless it is asked for."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import os
import pickle
import pty
import re
import select
import signal
import struct
import sys
import termios
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console
from rich.live import Live

from attn import progress
from attn.errors import AttnError
from attn.progress import Task
from attn.progress.streams import Bars, Lines
from attn.progress.words import last_line, line, row_of
from jobs import compare, difference, evaluate, maps, segment_predict

SHOW_CURSOR, HIDE_CURSOR = "\x1b[?25h", "\x1b[?25l"
CONTROLS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A program in a pseudo-terminal of so many columns."""

    def __init__(self, tmp_path: Path, columns: int, program: str) -> None:
        script = tmp_path / "program.py"
        script.write_text(program)
        variables = {**os.environ, "TERM": "xterm-256color", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        variables.pop("COLUMNS", None)
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.file = ours
        self.pid = os.posix_spawn(
            sys.executable,
            [sys.executable, str(script)],
            variables,
            setsid=True,
            # Opening it makes it the terminal of the new session, so that Ctrl-C reaches the program.
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.ttyname(theirs), os.O_RDWR, 0),
                (os.POSIX_SPAWN_DUP2, 0, 1),
                (os.POSIX_SPAWN_DUP2, 0, 2),
            ],
        )
        os.close(theirs)
        self.text = ""

    def read(self, until: str | None = None) -> str:
        """All that is printed; with `until`, as far as these words."""
        limit = time.monotonic() + 60
        while time.monotonic() < limit and (until is None or until not in "\n".join(self.lines)):
            if not select.select([self.file], [], [], 1.0)[0]:
                continue
            try:
                piece = os.read(self.file, 1 << 16)
            except OSError:  # Linux: the program has closed the terminal
                break
            if not piece:
                break
            self.text += piece.decode(errors="replace")
        return self.text

    @property
    def lines(self) -> list[str]:
        return re.split(r"[\r\n]+", CONTROLS.sub("", self.text))

    def end(self) -> int:
        """The exit status."""
        self.read()
        os.close(self.file)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


BARS = """
import sys, time
from attn import progress

with progress.shown(), progress.task("a pipeline with a name that is far too long", 2, "stages", timed=False) as stages:
    for stage in range(2):
        with progress.task("maps", 30, "images") as task:
            for image in range(30):
                time.sleep(0.02)
                task.advance()
                task.update(detail="loss 0.6931 (classification 0.5, mining 0.3)  lr 1.00e-03  and more words than fit")
        print("a note beside the bars", file=sys.stderr)
        stages.advance()
print("the result")
"""


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_bars_fit_the_terminal_and_end(tmp_path: Path, columns: int) -> None:
    terminal = Terminal(tmp_path, columns, BARS)
    assert terminal.end() == 0
    lines = terminal.lines
    assert max(map(len, lines)) <= columns
    bars = [one for one in lines if "━" in one and one.startswith("maps")]
    assert any("%" in one and "images/s" in one and "ETA" in one for one in bars), bars
    assert terminal.text.count(HIDE_CURSOR) == terminal.text.count(SHOW_CURSOR) > 0
    assert terminal.text.rindex(SHOW_CURSOR) > terminal.text.rindex(HIDE_CURSOR)
    assert [one for one in lines if ": 30 images in" in one or "note" in one or "result" in one][-1] == "the result"
    assert len([one for one in lines if one.startswith("maps: 30 images in")]) == 2
    assert lines.count("a note beside the bars") == 2, "what else is printed stays whole"


def test_ctrl_c_shows_the_cursor_and_ends_with_the_command_that_continues(tmp_path: Path) -> None:
    program = """
import sys, time
import typer
from attn import progress
from jobs.runs.run_folder import RunFolder
from services.cli.command import Result, command

def work(resumable: bool = False) -> Result:
    try:
        with progress.task("maps", 100, "images") as task:
            for image in range(100):
                time.sleep(0.1)
                task.advance()
    except KeyboardInterrupt:
        if resumable:
            raise RunFolder("elsewhere", "a").cancelled()
        raise
    return Result({}, lambda console: None)

sys.argv[1:] = ARGUMENTS
typer.run(command(work))
"""
    for arguments, last in (
        (["--resumable"], "run 'a' is cancelled; `attn resume a --root elsewhere` continues it"),
        (["--no-resumable"], "cancelled; `attn --no-resumable` begins again"),
    ):
        terminal = Terminal(tmp_path, 80, program.replace("ARGUMENTS", repr(arguments)))
        terminal.read(until="of 100 images")
        os.write(terminal.file, b"\x03")
        assert terminal.end() == 3
        assert terminal.text.rindex(SHOW_CURSOR) > terminal.text.rindex(HIDE_CURSOR)
        *_, stopped, message, end = terminal.lines
        assert stopped.startswith("maps: stopped at ")
        assert (message, end) == (last, "")


@pytest.mark.parametrize("method", ["start", "stop"])
def test_ctrl_c_while_a_bar_comes_or_goes_leaves_the_cursor_visible(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.StringIO()
    undisturbed = getattr(Live, method)

    def interrupted(live: Live, *arguments: object) -> None:
        signal.raise_signal(signal.SIGINT)
        undisturbed(live, *arguments)

    monkeypatch.setattr(Live, method, interrupted)
    with pytest.raises(KeyboardInterrupt), progress.shown(Bars(Console(file=stream, force_terminal=True))):
        list(progress.steps_of("abc", "maps", 3, "images"))
    text = stream.getvalue()
    assert text.count(HIDE_CURSOR) == text.count(SHOW_CURSOR) == 1
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_elsewhere_there_are_few_plain_lines_and_always_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, now = io.StringIO(), 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with progress.shown(Lines(stream)):
        with progress.task("starting Ray"):
            now += 3
        with progress.task("maps", 120, "images") as task:
            for _ in range(120):
                now += 0.5
                task.advance()
        with progress.task("download weights", 2**20, "bytes", patience=2.0) as task:
            task.advance(2**20)  # too quick to be told
        with contextlib.suppress(ValueError), progress.task("cues", 10, "images") as task:
            task.advance(4)
            now += 200
            raise ValueError
        progress.say("epoch 1/3 done")
    first, *maps, last, stopped, message = stream.getvalue().splitlines()
    assert first == "starting Ray ..."
    assert len(maps) == 6, "one each ten seconds"
    assert maps[0] == "maps: 14 of 120 images (12 %), 2.0 images/s, ETA 0:53"
    assert (last, stopped, message) == (
        "maps: 120 images in 1 min 0 s", "cues: stopped at 4 of 10 images after 3 min 20 s", "epoch 1/3 done",
    )  # fmt: skip


def test_work_that_counts_nothing_shows_that_it_is_still_going_on() -> None:
    stream = io.StringIO()

    def wait_for(lines: int) -> None:
        limit = time.monotonic() + 20
        while stream.getvalue().count("\n") < lines and time.monotonic() < limit:
            time.sleep(0.01)

    with progress.shown(Lines(stream, life=0.05)):
        with progress.task("starting Ray"):
            wait_for(3)
        with progress.task("loading data", patience=60.0):
            pass  # too quick to be told
        with progress.task("loading weights", patience=0.05):
            wait_for(stream.getvalue().count("\n") + 2)
    lines = stream.getvalue().splitlines()
    assert lines[:3] == ["starting Ray ...", "still starting Ray: 0:00", "still starting Ray: 0:00"]
    slow = [one for one in lines if not one.endswith(("starting Ray ...", "starting Ray: 0:00"))]
    assert slow[:2] == ["loading weights ...", "still loading weights: 0:00"]
    time.sleep(0.2)
    assert stream.getvalue().splitlines() == lines, "what has ended says nothing more"


def test_a_pipe_gets_no_control_characters(capfd: pytest.CaptureFixture[str]) -> None:
    with progress.shown():
        list(progress.steps_of(range(3), "maps", 3, "images"))
    out, err = capfd.readouterr()
    assert (out, err[:19]) == ("", "maps: 3 images in 0")
    assert "\x1b" not in err


class Gone(io.StringIO):
    """A terminal or a pipe whose reader is gone."""

    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal

    def write(self, text: str) -> int:
        raise OSError(errno.EIO if self.terminal else errno.EPIPE, "gone")


@pytest.mark.parametrize("gone", ["none", "closed", "pipe", "terminal"])
def test_work_ends_as_it_does_where_standard_error_is_gone(
    gone: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    closed = io.StringIO()
    closed.close()
    streams = {"none": None, "closed": closed, "pipe": Gone(terminal=False), "terminal": Gone(terminal=True)}
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", streams[gone])
    monkeypatch.setattr(Lines.__init__, "__defaults__", (None, 0.0, 30.0))
    with progress.shown():
        with progress.task("starting Ray"):
            progress.say("a word")
        assert list(progress.steps_of("abc", "maps", 3, "images")) == ["a", "b", "c"]
        with pytest.raises(KeyError, match="of the work"), progress.task("cues", 2, "images"):
            raise KeyError("of the work")
    assert capfd.readouterr().out == ""


def test_a_library_shows_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with progress.task("maps", 3, "images") as task:
        task.advance()
        progress.say("a word")
    assert list(progress.steps_of("ab", "maps")) == ["a", "b"]
    assert (progress.is_shown(), capfd.readouterr()) == (False, ("", ""))


def test_a_forked_process_shows_nothing() -> None:
    stream = io.StringIO()
    with progress.shown(Lines(stream)):
        if (child := os.fork()) == 0:
            os._exit(int(progress.is_shown()))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize("width", [12, 20, 39, 59, 79, 199])
def test_a_row_is_never_wider_than_its_place(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    for what in ("maps", "download resnet50-0676ba61.pth", "x" * 200):
        for total, unit in ((None, ""), (None, "images"), (123456, "images"), (9 * 2**30, "bytes")):
            task = Task(what, total, unit)
            now += 7
            task.update(1000)
            assert row_of(task, width).width <= width
            now += 4000
            assert row_of(task, width).width <= width
    assert row_of(Task("maps", 10, "images"), 79).bar >= 10


def test_speed_and_time_left_follow_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    task = Task("maps", 1000, "images")
    assert (task.speed(), task.seconds_left()) == (None, None)
    for _ in range(100):  # quick at first
        now += 0.1
        task.advance(5)
    assert task.seconds_left() == pytest.approx(10.0)
    for _ in range(100):  # then slowly
        now += 1.0
        task.advance()
    assert task.speed() == pytest.approx(1.0), "the beginning is forgotten"
    assert task.seconds_left() == pytest.approx(400.0)
    now += 20.0
    assert task.seconds_left() == pytest.approx(380.0), "it counts down where nothing is reported"
    task.update(0)
    assert task.share() == 0.0
    assert line(Task("x", 2**21, "bytes")).startswith("x: 0.0 of 2.0 MiB (0 %)")
    assert last_line(Task("x", 0, "images"), failed=False) == "x: 0 images in 0 s"


def test_what_an_earlier_attempt_had_done_is_told_apart() -> None:
    task = Task("sweep", 6, "trials")
    task.kept = 2
    task.update(6)
    assert last_line(task, failed=False) == "sweep: 6 trials in 0.0 s, 2 of them in an earlier attempt"


def test_a_task_can_be_sent_to_another_process() -> None:
    """As Ray Tune does with all that its callbacks hold."""
    stream = io.StringIO()
    with progress.shown(Lines(stream, seconds=0.0)), progress.task("trials", 3, "trials") as task:
        copy = pickle.loads(pickle.dumps(task))
        copy.update(2, detail="more")
        assert (copy.done, copy.share(), task.done) == (2, 2 / 3, 0)
        assert stream.getvalue() == ""


def test_tasks_count_what_several_threads_report() -> None:
    task = Task("files", 4000, "files")
    threads = [threading.Thread(target=lambda: [task.advance() for _ in range(1000)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert task.done == 4000


class Begun:
    """A view that keeps the names of tasks."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def begin(self, task: Task) -> None:
        self.names.append(task.what)

    def changed(self, task: Task) -> None: ...

    def end(self, task: Task, *, failed: bool) -> None: ...

    def say(self, text: str) -> None: ...

    def close(self) -> None: ...


@pytest.mark.parametrize(
    ("read", "told"),
    [
        (lambda: difference.run("first", "second"), "reading run first"),
        (lambda: compare.load({"A": "first"}, []), "reading first"),
        (lambda: evaluate.load("first", []), "reading first"),
        (lambda: maps.load("first", []), "reading first"),
        (lambda: segment_predict.load("first", []), "reading first"),
    ],
)
def test_a_command_says_what_it_reads_before_its_work(
    read: Callable[[], object], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with progress.shown(view := Begun()), pytest.raises(AttnError):  # there is no such run
        read()
    assert told in view.names


def test_what_is_read_at_once_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("attn.progress.view.READING_SECONDS", 0.05)
    stream = io.StringIO()
    with progress.shown(Lines(stream)):
        with progress.reading("the registry"):
            pass
        assert stream.getvalue() == ""
        with progress.reading("the runs"):
            limit = time.monotonic() + 20
            while not stream.getvalue() and time.monotonic() < limit:
                time.sleep(0.01)
    assert stream.getvalue().startswith("reading the runs ...\n")
