"""How a run begins and ends where something goes wrong at just that point."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from attn.config.document import dump_values, parse_override
from attn.config.resolve import dump_config
from attn.errors import RunError, StorageAwayError
from attn.files.patience import longest_wait
from attn.runs.pipeline import load_pipeline
from attn.tracking import NullTracker
from jobs import compare, pipeline
from jobs import resume as resuming
from jobs.runs import lifecycle
from jobs.runs.claim import process_fields
from jobs.runs.lifecycle import begin_or_continue, begin_run, config_of, continue_run
from jobs.runs.listing import entry_of
from jobs.runs.run_folder import RunFolder
from jobs.runs.same_run import changed_work, is_input
from tests.jobs.toy import ToyConfig


class Records(NullTracker):
    """A record that notes how it is closed."""

    def __init__(self, run_id: str, ends: list[tuple[str, str]]) -> None:
        self.run_id, self.ends = run_id, ends

    def terminate(self, state: str) -> None:
        self.ends.append((str(self.run_id), state))


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Records and how they were closed, in order; each run begins a new one."""
    ends, names = list[tuple[str, str]](), iter("abc")
    monkeypatch.setattr(lifecycle, "create_run", lambda *_, **__: next(names))
    monkeypatch.setattr(lifecycle, "attach", lambda tracking, root, run_id, folder: Records(run_id, ends))
    monkeypatch.setattr(
        lifecycle, "terminate", lambda tracking, root, run_id, state, folder: ends.append((run_id, state))
    )
    monkeypatch.setattr(lifecycle, "send_pending", lambda tracking, root, run_id, folder: ends.append((run_id, "sent")))
    return ends


def config(root: Path, height: int = 3) -> ToyConfig:
    return ToyConfig.model_validate({"root": str(root), "height": height})


def test_a_success_that_cannot_be_written_is_none(
    tmp_path: Path, ends: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, toy = RunFolder(str(tmp_path), "r"), config(tmp_path)

    def full(self: RunFolder, **changes: Any) -> None:
        raise RunError("run.json could not be written: no space")

    with pytest.raises(RunError, match="no space"), begin_run("toy", toy, folder, recorded=toy):
        monkeypatch.setattr(RunFolder, "update", full)
    assert ends == [("a", "failed")]


@pytest.mark.parametrize(
    ("ending", "record"),
    [
        (None, "failed"),
        (ValueError("a fault"), "failed"),
        (RunError("x"), "failed"),
        (KeyboardInterrupt(), "cancelled"),
    ],
)
def test_an_outage_at_a_runs_end_hides_no_fault(
    tmp_path: Path,
    ends: list[tuple[str, str]],
    ending: BaseException | None,
    record: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, toy, waits = RunFolder(str(tmp_path), "r"), config(tmp_path), list[float]()

    def away(self: RunFolder) -> None:
        waits.append(longest_wait())
        raise StorageAwayError("s3://b/r/run.json: away")

    life = begin_run("toy", toy, folder, recorded=toy)
    with pytest.raises(StorageAwayError if ending is None else type(ending)):
        _cut_off(life, lambda: monkeypatch.setattr(RunFolder, "state", away), ending)
    assert ends == [("a", record)]
    assert waits == [120.0 if ending is None else 10.0]
    assert ending is None or "could not be recorded: s3://b/r/run.json: away" in capsys.readouterr().err


@pytest.mark.parametrize("ending", [None, ValueError("a fault"), KeyboardInterrupt()], ids=["done", "fault", "Ctrl-C"])
@pytest.mark.parametrize("again", [False, True], ids=["begun", "continued"])
def test_a_process_whose_run_another_has_continued_writes_no_end(
    tmp_path: Path, ends: list[tuple[str, str]], ending: BaseException | None, again: bool
) -> None:
    folder, toy = RunFolder(str(tmp_path), "r"), config(tmp_path)
    if again:
        with contextlib.suppress(KeyboardInterrupt), begin_run("toy", toy, folder, recorded=toy):
            raise KeyboardInterrupt
        ends.clear()
    life = continue_run(toy, folder) if again else begin_run("toy", toy, folder, recorded=toy)
    fields = {"pid": 1, "process": "another", "host": "elsewhere"}
    with pytest.raises(RunError if ending is None else type(ending)):
        _live(life, folder, fields, ending)
    state = folder.state()
    assert (state.state, state.ended, state.error, ends) == ("running", None, None, [])


def test_the_time_of_a_run_is_that_of_all_its_attempts(tmp_path: Path, ends: list[tuple[str, str]]) -> None:
    folder, toy = RunFolder(str(tmp_path), "r"), config(tmp_path)
    with contextlib.suppress(KeyboardInterrupt), begin_run("toy", toy, folder, recorded=toy):
        raise KeyboardInterrupt
    folder.update(seconds=100.0)
    with contextlib.suppress(KeyboardInterrupt), continue_run(toy, folder):
        assert 100 <= (entry_of(folder, folder.state()).seconds or 0) < 130, "also while it runs"
        raise KeyboardInterrupt
    folder.update(seconds=300.0)
    with begin_or_continue("toy", toy, folder, recorded=toy):
        pass
    assert 300 <= (entry_of(folder, folder.state()).seconds or 0) < 330


def test_only_another_process_can_have_ended_without_a_word(tmp_path: Path, ends: list[tuple[str, str]]) -> None:
    """A trial of a sweep goes on with its run in the process that has begun it."""
    folder, toy = RunFolder(str(tmp_path), "r"), config(tmp_path)
    folder.begin(kind="toy", state="running", **process_fields())
    with continue_run(toy, folder):
        pass
    assert folder.state().attempt_ends is None
    folder.update(state="running", **process_fields() | {"process": "an earlier one"})
    with continue_run(toy, folder):
        pass
    (end,) = folder.state().attempt_ends or []
    assert end["cause"] == "lost"


@pytest.mark.parametrize(
    ("fields", "progress"),
    [
        ({"state": "cancelled", "epoch": 0, "step": 3}, "0/3 epochs, step 3"),
        ({"state": "running", "epoch": 2, "step": 96, "host": "other"}, "2/3 epochs, step 96"),
        ({"state": "done", "epoch": 3, "step": 120}, "3/3 epochs"),
        ({"state": "failed"}, "0/3 epochs"),
    ],
)
def test_progress_within_an_epoch(tmp_path: Path, fields: dict[str, Any], progress: str) -> None:
    folder = RunFolder(str(tmp_path), "r")
    folder.begin(kind="train", about={"epochs": 3}, **fields)
    assert entry_of(folder, folder.state()).progress == progress


@pytest.mark.parametrize("name", ["begin", "write"])
def test_a_begin_that_is_killed_leaves_no_run_without_its_config(
    tmp_path: Path, ends: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    folder, toy, there = RunFolder(str(tmp_path), "r"), config(tmp_path), list[tuple[bool, bool]]()
    real = getattr(RunFolder, name)

    def noted(self: RunFolder, *values: Any, **fields: Any) -> None:
        there.append((folder.exists(), folder.exists("config.yaml")))
        real(self, *values, **fields)

    monkeypatch.setattr(RunFolder, name, noted)
    with begin_run("toy", toy, folder, recorded=toy):
        pass
    assert there
    assert (True, False) not in there


def _cut_off(life: AbstractContextManager[Any], cut: Callable[[], None], ending: BaseException | None) -> None:
    with life:
        cut()
        if ending is not None:
            raise ending


def _live(life: AbstractContextManager[Any], folder: RunFolder, fields: dict[str, Any], ending: Any) -> None:
    with life:
        folder.update(**fields)
        if ending is not None:
            raise ending


@pytest.mark.parametrize(
    ("outputs", "error"),
    [({"heights": 3}, TypeError), ({"metrics": {"height": "high"}}, ValueError), ({"outputs": {"a": {1}}}, TypeError)],
)
def test_an_output_that_run_json_cannot_hold_fails_the_run(
    tmp_path: Path, ends: list[tuple[str, str]], outputs: dict[str, Any], error: type[Exception]
) -> None:
    folder, toy = RunFolder(str(tmp_path), "r"), config(tmp_path)
    with pytest.raises(error), begin_run("toy", toy, folder, recorded=toy) as live:
        live.outputs |= outputs
    state = folder.state()
    assert (state.state, ends) == ("failed", [("a", "failed")])
    assert str(state.error).startswith(error.__name__)
    assert state.ended is not None


@pytest.mark.parametrize("name", ["a: b", "x #y", "[1]", 'it\'s "so"', "ä \U0001f600", " two  blanks"])
def test_a_resumed_run_stays_below_the_root_where_it_lies(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under any name of the root: it passes through YAML."""
    folder, toy = RunFolder(f"{tmp_path}/{name}", "r"), config(tmp_path)
    folder.begin(kind="compare", compared={"A": "a"}, overrides=[])
    folder.write("config.yaml", dump_config(toy))
    assert config_of(folder, ToyConfig).root == folder.root

    overrides: list[str] = []
    monkeypatch.setattr(compare, "load", lambda targets, given, **_: overrides.extend(given))
    monkeypatch.setattr(compare, "run", lambda job, **_: None)
    compare.resume(folder.uri)
    assert [parse_override(text) for text in overrides] == [(("root",), folder.root)]

    roots: list[str] = []
    folder.write("config.yaml", dump_config(load_pipeline("grad_cam_segment_scenes", [])))
    monkeypatch.setattr(pipeline, "run", lambda config, **_: roots.append(config.root))
    pipeline.resume(folder.uri)
    assert roots == [folder.root]


@pytest.mark.parametrize(
    ("section", "enabled"),
    [({}, False), ({"tracking": {"enabled": False}}, False), ({"tracking": {"uri": "http://h"}}, True)],
)
def test_a_done_run_without_a_tracking_section_sends_nothing(
    tmp_path: Path, section: dict[str, Any], enabled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, sent = RunFolder(str(tmp_path), "r"), list[bool]()
    folder.begin(kind="evaluate", state="done")
    folder.write("config.yaml", dump_values({"root": str(tmp_path), **section}))
    monkeypatch.setattr(resuming, "send_pending", lambda tracking, *_: sent.append(tracking.enabled))
    resuming.resume(folder.uri)
    assert sent == [enabled]


def test_a_begin_that_fails_says_what_kind_of_run_it_was(
    tmp_path: Path, ends: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, toy = RunFolder(str(tmp_path), "r"), config(tmp_path)

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(lifecycle, "record_origin", interrupted)
    with pytest.raises(KeyboardInterrupt, match="attn resume"), begin_run("toy", toy, folder, recorded=toy):
        pytest.fail("it has not begun")
    assert (folder.state().kind, folder.state().state, ends) == ("toy", "cancelled", [("a", "cancelled")])


@pytest.mark.parametrize(("left", "closed"), [("running", ("a", "cancelled")), ("failed", ("a", "sent"))])
def test_another_run_in_its_place_closes_the_record(
    tmp_path: Path, ends: list[tuple[str, str]], left: str, closed: tuple[str, str]
) -> None:
    folder = RunFolder(str(tmp_path), "r")
    with begin_or_continue("toy", config(tmp_path), folder, recorded=config(tmp_path)):
        pass
    folder.update(state=left)
    del ends[:]
    other = config(tmp_path, height=4)
    with begin_or_continue("toy", other, folder, recorded=other):
        assert folder.state().tracking_run == "b"
    assert ends == [closed, ("b", "done")]


WORK = {"model": "gain", "weights": "ab"}


@pytest.mark.parametrize(
    ("height", "work", "differing"),
    [
        (4, WORK, "height"),
        (3, {"model": "gain", "weights": "cd"}, "weights"),
        (3, {**WORK, "model": "/runs/gain/model"}, None),
        (4, {"model": "oaa", "weights": "cd"}, "weights, height"),
        (3, WORK, None),
    ],
)
@pytest.mark.parametrize("left", ["done", "failed"])
def test_a_run_that_is_done_is_not_replaced_by_another(
    tmp_path: Path, ends: list[tuple[str, str]], height: int, work: dict[str, str], differing: str | None, left: str
) -> None:
    folder, first, second = RunFolder(str(tmp_path), "r"), config(tmp_path), config(tmp_path, height)
    with begin_or_continue("toy", first, folder, recorded=first, work=WORK):
        pass
    folder.update(state=left)
    if differing is not None and left == "done":
        said = f"run 'r' is there already and is done, with other values of {differing}: choose another --run-id, or"
        with (
            pytest.raises(RunError, match=f"^{re.escape(said)} remove {folder.uri} first$"),
            begin_or_continue("toy", second, folder, recorded=second, work=work),
        ):
            pytest.fail("it has begun")
        assert folder.state().model == "gain"
        return
    with begin_or_continue("toy", second, folder, recorded=second, work=work):
        assert (folder.state().model, folder.state().weights) == (work["model"], work["weights"])
    assert f"height: {height}" in folder.read_text("config.yaml")


@pytest.mark.parametrize("left", ["done", "failed"])
def test_a_run_of_a_version_without_a_field_is_the_same_run_again(
    tmp_path: Path, ends: list[tuple[str, str]], left: str
) -> None:
    folder, toy = RunFolder(str(tmp_path), "r"), config(tmp_path)
    with begin_or_continue("toy", toy, folder, recorded=toy, work=WORK):
        pass
    folder.write("config.yaml", f"kind: toy\nroot: {tmp_path}/moved\n")
    folder.update(state=left, started=1.0)
    with begin_or_continue("toy", toy, folder, recorded=toy, work=WORK):
        assert (folder.state().started == 1.0) is (left == "failed"), "what was interrupted is continued"
    assert folder.state().state == "done"


@pytest.mark.parametrize(
    ("before", "work", "changed"),
    [
        ({"model": "a"}, {"model": "b", "target": "b"}, ["model", "target"]),
        ({"model": "a", "weights": "1"}, {"model": "b", "target": "b", "weights": "1"}, []),
        ({"target": "s@1", "version": 1}, {"target": "s@2", "version": 2}, ["target", "version"]),
        ({"overrides": []}, {"overrides": ["device=cpu", "data_workers=2", "tracking.enabled=true"]}, []),
        ({"overrides": ["b=1", "a=2", "a=1"]}, {"overrides": ["a=1", "b=1"]}, []),
        ({"overrides": ["panels=2"]}, {"overrides": ["panels=3"]}, ["overrides"]),
    ],
)
def test_what_a_run_works_on(before: dict[str, Any], work: dict[str, Any], changed: list[str]) -> None:
    assert changed_work(work, before) == changed


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("device", False),
        ("labels.maps.device", False),
        ("tracking.uri", False),
        ("data.root", True),
        ("data.seed", True),
    ],
)
def test_fields_that_change_no_result(name: str, expected: bool) -> None:
    assert is_input(name) is expected


def test_a_run_that_is_done_is_repeated_with_other_means(tmp_path: Path, ends: list[tuple[str, str]]) -> None:
    folder, first = RunFolder(str(tmp_path), "r"), config(tmp_path)
    with begin_or_continue("toy", first, folder, recorded=first, work=WORK):
        pass
    state = folder.state().to_json()
    folder.write("run.json", json.dumps({name: value for name, value in state.items() if name != "weights"}))
    other = first.model_copy(update={"height": 4, "tracking": first.tracking.model_copy(update={"enabled": False})})
    with begin_or_continue("toy", other, folder, recorded=other, work=WORK, shown=("height",)):
        pass
    assert "height: 4" in folder.read_text("config.yaml")


def test_a_second_signal_does_not_cut_the_end_short(
    tmp_path: Path, ends: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, toy, update = RunFolder(str(tmp_path), "r"), config(tmp_path), RunFolder.update

    def interrupted(self: RunFolder, **changes: Any) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(os.getpid(), number)
        update(self, **changes)

    def run() -> None:
        with begin_run("toy", toy, folder, recorded=toy):
            monkeypatch.setattr(RunFolder, "update", interrupted)
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        run()
    assert json.loads((tmp_path / "r" / "run.json").read_text())["state"] == "cancelled"
    assert ends == [("a", "cancelled")]
