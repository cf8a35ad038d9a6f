"""Which runs there are under a root, and what each of them is about."""

from __future__ import annotations

__all__ = ["RunEntry", "entry_of", "find_run", "list_entries", "list_runs", "parent_of", "reported_since"]

import contextlib
import difflib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from attn.driver_process import Driver, shown_state
from attn.errors import AttnError
from attn.files.locations import list_folders
from attn.run_state import BROKEN, About, RunState
from attn.wording import counted
from jobs.runs.about import about_run
from jobs.runs.heartbeat import run_driver
from jobs.runs.model_epoch import early_end
from jobs.runs.run_folder import NoSuchRunError, RunFolder, is_run_id
from jobs.runs.starting import start_of


@dataclass(frozen=True)
class RunEntry:
    """A run in a list.

    Attributes:
        driver: Where the process is that drives a run that is `running`.
        ended_trials: Of a sweep: how many trials have ended, as far as it says so.
        running_trials: Of a sweep that is running: what each trial that runs is at, by its number.
        stage: Of a pipeline that has not ended: the run of the stage that it has begun last.
    """

    state: RunState
    about: About
    driver: Driver | None
    ended_trials: int | None = None
    stage: RunEntry | None = None
    running_trials: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def shown_state(self) -> str:
        """The state for people, as `attn.driver_process.shown_state` has it."""
        return shown_state(self.state, self.driver)

    @property
    def seconds(self) -> float | None:
        """Running time in seconds of all attempts that were not killed, so far if it is still running."""
        state, begun = self.state, self.state.resumed or self.state.started
        if self.driver == "here" and begun is not None:
            return (state.seconds or 0.0) + max(0.0, time.time() - begun)
        if state.seconds is not None or self.driver is not None or state.ended is None or begun is None:
            return state.seconds
        return max(0.0, state.ended - begun)

    @property
    def progress(self) -> str:
        """Progress: `3/15 epochs, step 96`, `4/20 trials`, `stage 2 of 5, cues`; empty if nothing is known."""
        state, about = self.state, self.about
        if about.trials is not None or self.ended_trials is not None:
            ended = self.ended_trials if self.ended_trials is not None else about.trials if self._done else 0
            if about.trials is None:
                return counted(ended or 0, "trial")
            return f"{ended}/{counted(about.trials, 'trial')}" + self._running
        if state.stages:
            if self._done:
                return counted(len(state.stages), "stage")
            last, names = list(state.stages)[-1], state.stage_names or []
            place = f"stage {names.index(last) + 1} of {len(names)}, {last}" if last in names else last
            return ": ".join(filter(None, (place, self.stage.progress if self.stage is not None else "")))
        if state.epoch is None and about.epochs is None:
            return ""
        done = state.epoch or 0
        early = ", ended early" if early_end(state.stopped_early) else ""
        step = f", step {state.step}" if state.step and not self._done else ""
        epochs = counted(done, "epoch") if about.epochs is None else f"{done}/{counted(about.epochs, 'epoch')}" + early
        return epochs + step

    @property
    def _running(self) -> str:
        """The one trial that runs, or their number."""
        match list(self.running_trials.items()):
            case []:
                return ""
            case [(number, text)]:
                return f", trial {number}: {text}"
            case several:
                return f", {len(several)} running"

    @property
    def _done(self) -> bool:
        return self.state.state == "done"

    def to_json(self) -> dict[str, Any]:
        """The fields of its `run.json`, with the `state` as shown, `about` and `driver`."""
        driver = {} if self.driver is None else {"driver": self.driver}
        return {**self.state.to_json(), "state": self.shown_state, "about": self.about.to_json(), **driver}


def list_runs(root: str) -> list[RunState]:
    """The state of every run under a root, newest first.

    A folder without `run.json` is no run, unless a process is starting one there. A run that cannot be read is in the
    state `broken`, with the `error`.
    """
    runs: list[RunState] = []
    for name in filter(is_run_id, list_folders(root)):
        try:
            runs.append(RunFolder(root, name).state())
        except NoSuchRunError:
            if (state := start_of(RunFolder(root, name))) is not None:
                runs.append(state)
        except AttnError as error:
            runs.append(RunState.of({"id": name, "state": BROKEN, "error": str(error)}))
    return sorted(runs, key=lambda run: run.started or 0.0, reverse=True)


def find_run(folder: RunFolder) -> RunState:
    """The state of a run that a user has named.

    Raises:
        NoSuchRunError: There is no such run; the message names runs of a similar name.
        RunError: Its `run.json` is damaged.
    """
    try:
        return folder.state()
    except NoSuchRunError as error:
        if (state := start_of(folder)) is not None:
            return state
        near = difflib.get_close_matches(folder.run_id, filter(is_run_id, list_folders(folder.root)), n=3)
        raise (NoSuchRunError(f"{error}; did you mean {' or '.join(near)}?") if near else error) from None


def parent_of(folder: RunFolder, state: RunState) -> RunFolder | None:
    """The sweep of a trial, or the pipeline of a stage that it has not ended yet; None for a run of its own."""
    if state.number is not None:
        return RunFolder.of(folder.root, folder.root)
    for other in list_runs(folder.root):
        stages = (other.stages or {}).values() if other.state != "done" else ()
        if any(stage.run_id == folder.run_id and not stage.reused for stage in stages):
            return RunFolder(folder.root, other.id)
    return None


def list_entries(root: str) -> list[RunEntry]:
    """As `list_runs`, with what each run is about."""
    return [entry_of(RunFolder(root, state.id), state) for state in list_runs(root)]


def entry_of(folder: RunFolder, state: RunState) -> RunEntry:
    """A run's state with what it is about; reads more files for a sweep or pipeline, and for a run of an earlier
    version."""
    if state.state == BROKEN:
        return RunEntry(state, About(), None)
    reported: dict[str, Any] = {}
    if state.kind == "sweep":
        with contextlib.suppress(AttnError):
            reported = folder.read_json("progress.json")
    ended, running = reported.get("ended"), reported.get("running")
    driver = run_driver(folder, state)
    current = driver in ("here", "elsewhere") and reported_since(reported, state)
    about, trials = about_run(folder, state), reported.get("trials")
    if about.trials is None and isinstance(trials, int) and trials > 0:  # a grid, whose config gives no number
        about = about.model_copy(update={"trials": trials})
    return RunEntry(
        state,
        about,
        driver,
        ended if isinstance(ended, int) else None,
        _stage_of(folder, state),
        {str(number): str(text) for number, text in running.items()} if current and isinstance(running, dict) else {},
    )


def reported_since(reported: Mapping[str, Any], state: RunState) -> bool:
    """Return whether the figures of a `progress.json` are of the run's current attempt."""
    at, begun = reported.get("time"), state.resumed or state.started or 0.0
    return isinstance(at, int | float) and at >= begun


def _stage_of(folder: RunFolder, state: RunState) -> RunEntry | None:
    if state.state == "done" or (stage := state.current_stage) is None:
        return None
    try:
        own = RunFolder(folder.root, stage.run_id)
        return RunEntry(own.state(), about_run(own, own.state()), None)
    except AttnError:
        return None
