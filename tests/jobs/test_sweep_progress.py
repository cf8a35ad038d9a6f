"""Progress of a sweep: trials that have ended are counted, and the time left is that of the rest."""

from __future__ import annotations

import contextlib
import io
import json
import re
import time
from collections import Counter
from collections.abc import Generator
from dataclasses import replace
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
from attn.runs.sweep import Objective
from attn.runs.sweep.load import read_sweep
from jobs import sweep
from jobs.runs.claim import process_fields
from jobs.runs.listing import entry_of
from jobs.runs.run_folder import RunFolder
from jobs.sweep import killed_for_memory, resume, run
from jobs.sweeps.plan import Plan, remaining
from jobs.sweeps.progress import error_of, progress_callback
from jobs.sweeps.results import Row, SweepResult, best_row, failed_rows, result_of, table
from jobs.sweeps.trial_folder import trial_folder
from services.cli.answering import LocalRun
from services.cli.results import shown
from services.cli.status_page import page_of_run

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
    ("state", "lost"),
    [({"state": "failed", "error": "x"}, False), ({"state": "failed", "cause": "lost"}, True), (None, True)],
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
    assert set(names) == {"s-0001"}
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


def pipeline_trial(folder: RunFolder, stage: str, epoch: int) -> None:
    """The first trial, a pipeline that this process drives, and the stage that it has come to."""
    own, name = trial_folder(folder, 0), f"s-0000-{stage}-ab"
    beside = RunFolder(own.root, name)
    stages = {stage: {"run_id": name, "folder": beside.uri, "state": "running"}}
    fields = {"kind": "pipeline", "state": "running", "number": 0, "values": {}, "stages": stages}
    own.begin(**fields, **process_fields(), stage_names=["train", "cues", "segment"])
    beside.begin(kind="train", state="running", about={"epochs": 9}, epoch=epoch, step=epoch * 5)


def test_a_trial_that_reports_nothing_before_its_end_is_told_of_by_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, _ = read_sweep(SWEEP, "sweep.yaml", [])
    folder, stream, now = RunFolder(str(tmp_path), "s"), io.StringIO(), [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    folder.begin(kind="sweep", state="running", started=time.time() - 9, about={"what": "a grid"}, **process_fields())
    one = Trial(number=0, status="RUNNING", last_result=None, config={}, get_error=lambda: "trace\nRuntimeError: x")
    waits = Trial(number=1, status="PENDING", last_result=None, config={})

    def at(seconds: float, stage: str = "", epoch: int = 0) -> str:
        before, now[0] = len(stream.getvalue()), seconds
        if stage:
            pipeline_trial(folder, stage, epoch)
        callback.on_step_end(0, [one, waits])
        return stream.getvalue()[before:]

    with progress.shown(Lines(stream, seconds=0.0)), progress.task("sweep", 4, "trials", timed=False) as reported:
        callback: Any = progress_callback(config, folder, [], epochs=4, reported=reported)
        assert "trial 0: starting" in at(6.0)
        assert at(12.0) == "", "nothing new"
        assert "trial 0: starting" in at(40.0), "a sign of life"
        assert "trial 0: stage 1 of 3, train\n" in at(50.0, "train")
        told = at(56.0, "train", 2)
        assert "trial 0: stage 1 of 3, train: 2/9 epochs, step 10" in told
        assert "trial 0: stage 1 of 3, train\n" not in told, "a stage has its line once"
        assert "trial 0: stage 3 of 3, segment\n" in at(62.0, "segment", 1)
        assert entry_of(folder, folder.state()).progress == (
            "0/4 trials, trial 0: stage 3 of 3, segment: 1/9 epochs, step 5"
        )
        page = page_of_run(LocalRun(folder), entry_of(folder, folder.state()))
        assert page.reported["running"] == {"0": "stage 3 of 3, segment: 1/9 epochs, step 5"}
        folder.write("sweep.yaml", SWEEP)
        trial_folder(folder, 0).update(state="failed", error="training stopped:\nloss = nan")
        callback.on_trial_error(0, [], one)
        progress_callback(config, folder, [row(number, "done", 4) for number in range(4)], epochs=4, reported=reported)
        assert reported.detail.startswith("best: trial 0"), "nothing starts after the last trial"
    assert "trial 0 failed (1 of 4): training stopped: loss = nan\n" in stream.getvalue()
    trial_folder(folder, 0).update(error=None)
    assert error_of(folder, one) == "RuntimeError: x"


def test_a_sweep_without_a_success_has_failed_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.sweep.ray_session", lambda *_, **__: contextlib.nullcontext())
    monkeypatch.setattr("attn.runs.sweep.figures.check_data", lambda *_: None)
    loaded, run_again = read_sweep(SWEEP, "sweep.yaml", [f"root={tmp_path}"]), list[list[int]]()

    def tuned(ends: dict[str, Any]) -> None:
        def tune(self: Any, *_: Any) -> None:
            run_again.append(list(self.left))
            for number in self.left:
                values = {"optimizer.lr": 0.1}
                trial_folder(self.folder, number).begin(kind="train", number=number, values=values, **ends)

        monkeypatch.setattr("jobs.sweep._Sweep.tune", tune)

    tuned({"state": "failed", "error": "photos.csv: no such file"})
    result = run(loaded, run_id="s")
    state = RunFolder(str(tmp_path), "s").state()
    reason = "no trial came to its end: trial 0 and 3 more: photos.csv: no such file"
    assert (state.state, state.error, shown(result).status) == ("failed", reason, 1)
    assert f"`attn resume s --root {tmp_path}` tries the failed trials again" in str(table(result).caption)
    assert state.cause is None
    tuned({"state": "failed", "error": "its process was lost", "cause": "lost"})
    assert shown(resume("s", root=str(tmp_path))).status == 1
    assert RunFolder(str(tmp_path), "s").state().cause == "lost", "it helps to go on with it"
    run_again[:] = [[0, 1, 2, 3]] * 2
    tuned({"state": "done", "metrics": {"seed_miou": 0.5}})
    monkeypatch.setattr("jobs.sweep.conclude", result_of)  # no picture of trials that are all alike
    again = resume("s", root=str(tmp_path))
    state = RunFolder(str(tmp_path), "s").state()
    assert (state.state, state.error, state.cause, again.counts) == ("done", None, None, {"done": 4})
    assert shown(again).status == 0
    resume("s", root=str(tmp_path))
    assert run_again == [[0, 1, 2, 3]] * 3, "and not a fourth time"
    trial_folder(RunFolder(str(tmp_path), "s"), 2).update(state="failed")
    resume("s", root=str(tmp_path))
    assert len(run_again) == 3, "one that failed beside others is a row of the table"


ENDS: dict[str, dict[str, Any]] = {
    "failed": {"state": "failed", "objective": None, "error": "loss = nan"},
    "lost": {"state": "failed", "objective": None, "error": "its process was lost", "cause": "workers_lost"},
    "stopped": {"state": "stopped"},
    "waiting": {"state": "waiting", "objective": None},
    "done": {"state": "done"},
    "unscored": {"state": "done", "objective": None},
}


@pytest.mark.parametrize(
    ("ends", "again", "fault"),
    [
        (("failed", "lost", "failed", "stopped"), [0, 1, 2],
         "no trial came to its end: trial 0 and 1 more: loss = nan; trial 1: its process was lost"),
        (("failed", "failed", "failed", "waiting"), [], "no trial came to its end: trial 0 and 2 more: loss = nan"),
        (("stopped",) * 4, [], "no trial came to its end: all were stopped early"),
        ((), [], "no trial came to its end: none was begun"),
        (("unscored", "failed", "stopped", "stopped"), [], "no trial has a value of seed_miou"),
        (("failed", "done", "lost", "stopped"), [], None),
    ],
)  # fmt: skip
def test_failed_trials_are_tried_again_where_none_succeeded(
    ends: tuple[str, ...], again: list[int], fault: str | None
) -> None:
    config, _ = read_sweep(SWEEP, "sweep.yaml", [])
    rows = [replace(row(number, "", 4), **ENDS[end]) for number, end in enumerate(ends)]
    assert [one.number for one in failed_rows(config, rows)] == again
    best = next((one for one in rows if one.state == "done" and one.objective), None)
    counts = Counter(one.state for one in rows)
    result = SweepResult(
        run_id="s", folder="runs/s", trials=rows, counts=dict(counts), metric="seed_miou", best=best, recipe=None,
        registered=None, tracking_run=None, seconds=1.0,
    )  # fmt: skip
    assert result.fault == fault
    assert ("tries the failed trials again" in str(table(result).caption)) == (
        "failed" in counts and "done" not in counts
    )


def test_the_best_trial_is_named_with_those_that_are_as_good() -> None:
    scores = (0.25, 0.5, 0.5)
    rows = [replace(row(number, "done", 4), objective=score) for number, score in enumerate(scores)]
    best = best_row(Objective(metric="seed_miou"), rows)
    assert best is rows[1]
    result = SweepResult(
        run_id="s", folder="runs/s", trials=rows, counts={"done": 3}, metric="seed_miou", best=best, recipe=None,
        registered=None, tracking_run=None, seconds=1.0,
    )  # fmt: skip
    drawn = table(result)
    assert re.search(r"best: trial 1, seed_miou 50.0 %; as good: trial 2\n", str(drawn.caption)), drawn.caption
    assert list(drawn.columns[-1].cells) == ["done", "done, best", "done"]


def test_of_equal_trials_the_first_is_the_best_so_far_as_at_the_end(tmp_path: Path) -> None:
    config, _ = read_sweep(SWEEP, "sweep.yaml", [])
    folder = RunFolder(str(tmp_path), "s")
    with progress.task("sweep", config.trials, "trials", timed=False) as reported:
        callback: Any = progress_callback(config, folder, [], epochs=4, reported=reported)
        for number in (1, 0):
            one = trial(number, 4)
            callback.on_trial_result(0, [], one, one.last_result)
        assert callback.best() == 0


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
