"""Progress of a sweep: trials that have ended are counted, and the time left is that of the rest."""

from __future__ import annotations

import contextlib
import io
import json
import re
import time
from collections.abc import Generator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from ray.exceptions import OutOfMemoryError

from attn import progress
from attn.errors import StorageAwayError
from attn.progress.streams import Lines
from attn.run_state import RunState
from attn.runs.sweep.load import read_sweep
from jobs import sweep
from jobs.runs.run_folder import RunFolder
from jobs.sweep import killed_for_memory, run
from jobs.sweeps.plan import Plan, remaining
from jobs.sweeps.progress import progress_callback
from jobs.sweeps.results import Row, table
from jobs.sweeps.trial_folder import trial_folder

SWEEP = (
    "kind: sweep\nrecipe: scenes_gain\nset: {data.count: 16}\nspace: {optimizer.lr: [0.01, 0.001, 0.1, 0.2]}\n"
    "search: {name: grid}\nobjective: {metric: seed_miou}\ntracking: {enabled: false}\n"
)


class Trial(SimpleNamespace):
    def __str__(self) -> str:
        return f"trial-{self.number:04d}-x"


def trial(number: int, epoch: int) -> Trial:
    return Trial(number=number, last_result={"objective": 0.5, "epoch": epoch}, config={"optimizer.lr": 0.01})


def row(number: int, state: str, epoch: int) -> Row:
    return Row(number, state, {}, 0.5, epoch, 9.0, None, None, None)


def test_trials_are_counted_when_they_have_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, _ = read_sweep(SWEEP, "sweep.yaml", [])
    folder, stream, now = RunFolder(str(tmp_path), "s"), io.StringIO(), [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    rows = [row(0, "done", 4), row(1, "running", 2)]  # of the session before
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.suppress(KeyboardInterrupt))
        stack.enter_context(progress.shown(Lines(stream, seconds=0.0)))
        with progress.task("sweep", config.trials, "trials", timed=False) as reported:
            callback: Any = progress_callback(config, folder, rows, epochs=4, reported=reported)
            for number, epoch, seconds in ((1, 3, 10.0), (2, 1, 10.0), (1, 4, 20.0), (2, 2, 20.0)):
                now[0] = seconds
                one = trial(number, epoch)
                callback.on_trial_result(0, [], one, one.last_result)
            assert json.loads((tmp_path / "s" / "progress.json").read_text())["ended"] == 1
            callback.on_trial_complete(0, [], trial(1, 4))
            raise KeyboardInterrupt
    kept = json.loads((tmp_path / "s" / "progress.json").read_text())
    # One trial in 20 seconds: half of trial 1 and half of trial 2. Half of trial 2 and trial 3 are left.
    assert (kept["ended"], kept["seconds_left"]) == (2, pytest.approx(30.0))
    text = stream.getvalue()
    assert "trial 1 ended (2 of 4)  50.0 % after epoch 4  optimizer.lr=0.01" in text
    assert "trials/s" not in text
    assert "sweep: stopped at 2 of 4 trials after 20 s" in text
    assert set(re.findall(r"(\d) of 4 trials", text)) == {"1", "2"}


@pytest.mark.parametrize(
    ("state", "lost"), [({"state": "failed"}, False), ({"state": "failed", "cause": "lost"}, True), (None, True)]
)
def test_one_trial_is_read_when_it_ends_in_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, state: dict[str, str] | None, lost: bool
) -> None:
    """One that cannot be read is to go on: its end is not known."""
    config, _ = read_sweep(SWEEP, "sweep.yaml", [])
    folder, stream, names = RunFolder(str(tmp_path), "s"), io.StringIO(), list[str]()
    for number in range(3):
        trial_folder(folder, number).begin(kind="train", number=number, values={}, **(state or {"state": "failed"}))
    real = RunFolder.state

    def noted(self: RunFolder) -> RunState:
        names.append(self.run_id)
        if state is None:
            raise StorageAwayError(f"{self.uri}: away")
        return real(self)

    monkeypatch.setattr(RunFolder, "state", noted)
    with progress.shown(Lines(stream, seconds=0.0)), progress.task("sweep", 4, "trials", timed=False) as reported:
        callback: Any = progress_callback(config, folder, [], epochs=4, reported=reported)
        callback.on_trial_error(0, [], trial(1, 2))
    assert names == ["s-0001"]
    assert ("trial 1 was lost" in stream.getvalue()) is lost


@pytest.mark.parametrize(
    ("epochs", "memory", "sessions", "cause"),
    [
        ([1, 2, 3, 4, 5, 6], False, 4, "lost"),
        ([0, 0, 0], False, 2, "lost"),  # it would not come further
        ([2, 2, 2], False, 2, "lost"),
        ([0, 3, 3], False, 3, "lost"),
        ([1, 2, 3], True, 1, None),
    ],
)
def test_how_often_a_trial_that_is_lost_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epochs: list[int], memory: bool, sessions: int, cause: str | None
) -> None:
    folder, begun = RunFolder(str(tmp_path), "s"), list[list[int]]()
    (config, base) = read_sweep(SWEEP, "sweep.yaml", [f"root={tmp_path}"])
    folder.begin(kind="sweep", state="running")
    folder.write("sweep.yaml", "objective: {metric: m}\n")

    def tune(self: sweep._Sweep, *_: object) -> None:  # pyright: ignore[reportPrivateUsage]
        one = trial_folder(folder, 1)
        one.update(kind="pipeline", number=1, values={}, state="running", epoch=epochs[len(begun)])
        begun.append(self.left)
        results = [SimpleNamespace(error=OutOfMemoryError("x") if memory else None, path=f"/x/{trial(1, 0)}/")]
        self.out_of_memory |= killed_for_memory(results)

    monkeypatch.setattr(sweep._Sweep, "tune", tune)  # pyright: ignore[reportPrivateUsage]
    of = sweep._Sweep(config, base, folder)  # pyright: ignore[reportPrivateUsage]
    of.left = [1]
    of.run(Mock(), Mock())
    assert begun == [[1]] * sessions
    state = trial_folder(folder, 1).state()
    assert (state.state, state.cause) == ("failed", cause)
    assert ("memory" in (state.error or "")) is memory


def test_a_resumed_sweep_is_estimated_by_what_is_left() -> None:
    plan = Plan(4, 4, 16, 2, 1, {}, 1, 16, 1)
    assert remaining(plan, []) is plan
    rest = remaining(plan, [row(0, "done", 4), row(1, "failed", 0), row(2, "running", 3)])
    assert (rest.trials, rest.epochs_in_all) == (2, 5)


def test_the_time_of_a_sweep_is_one_figure_with_what_it_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the progress says at its end is the time of the whole, as in the table and in `attn show`."""
    stream, now = io.StringIO(), [0.0]

    @contextlib.contextmanager
    def session(*_: Any, **__: Any) -> Generator[None]:
        now[0] += 60.0
        yield
        now[0] += 7.0

    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr("jobs.sweep.ray_session", session)
    monkeypatch.setattr("jobs.sweep._Sweep.tune", lambda *_: now.__setitem__(0, now[0] + 100.0))
    monkeypatch.setattr("attn.runs.sweep.figures.check_data", lambda *_: None)
    loaded = read_sweep(SWEEP, "sweep.yaml", [f"root={tmp_path}"])
    with progress.shown(Lines(stream, seconds=0.0)):
        result = run(loaded, run_id="s")
    assert result.seconds == 167.0
    last = stream.getvalue().splitlines()[-1]
    assert ("sweep" in last, "2 min 47 s" in last) == (True, True), stream.getvalue()
    assert "time: 2 min 47 s, from the start of Ray to the results, all attempts" in str(table(result).caption)
