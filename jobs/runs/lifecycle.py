"""The life of a run, the same for every kind: it begins, is recorded, and ends as done, failed or cancelled.

An exception or a signal that can be handled ends a run with its state in `run.json` and in its record. After SIGKILL or
a power failure `run.json` still says `running`, and `attn resume` continues the run. The user reads the first fault: if
the end cannot be recorded, this is printed and raises nothing.
"""

from __future__ import annotations

__all__ = [
    "LiveRun",
    "Tracked",
    "begin_or_continue",
    "begin_run",
    "config_of",
    "continue_run",
    "fault_text",
    "say_done",
    "target_of",
    "warned",
]

import contextlib
import sys
import time
from collections.abc import Collection, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from attn import progress
from attn.config.base import Config
from attn.config.document import override_of, read_document
from attn.config.resolve import dump_config, resolve
from attn.driver_process import process_text
from attn.errors import AttnError, RunError, StorageAwayError, WorkersLostError, cause_of
from attn.files.patience import DEFAULT_PATIENCE_SECONDS, patience, patience_of
from attn.memory import out_of_memory
from attn.runs.started import started
from attn.tracking import DataUsed, Tracker, TrackingConfig, attach, create_run, send_pending, terminate
from attn.training.allocator import keep_freed_memory
from attn.training.run_config import RunConfig
from jobs.runs.about import about_of
from jobs.runs.attempt_ends import note_end
from jobs.runs.claim import check_claim, check_ended, claim, process_fields, refuse_replacing
from jobs.runs.description import describe_run
from jobs.runs.heartbeat import heartbeat
from jobs.runs.provenance import record_origin
from jobs.runs.run_folder import RunFolder
from jobs.runs.same_run import changed_fields, changed_work, is_input
from jobs.runs.signals import ignore_signals, sigterm_as_interrupt
from jobs.runs.starting import forget_start, starting

C = TypeVar("C", bound=Config)

ENDED = frozenset({"done", "failed", "cancelled", "stopped"})
"""States whose record is closed."""
END_PATIENCE_SECONDS = 10.0
"""How long the end of a run that has failed or is cancelled waits for an object store, while signals are ignored."""


class Tracked(Protocol):
    """A config that says below which root runs lie, and where they are recorded."""

    @property
    def root(self) -> str: ...

    @property
    def tracking(self) -> TrackingConfig: ...


@dataclass
class LiveRun:
    """A run in progress.

    Attributes:
        tracker: Its record. While the server is away, entries wait in the run's folder.
        outputs: Fields of `RunState` that are written when the run is done. A new kind writes its own under `outputs`.
        state: State of the run at its end if nothing is raised; `waiting` leaves its record open.
        claimed: `run.json` names this process as the one that drives the run.
    """

    folder: RunFolder
    tracker: Tracker
    outputs: dict[str, Any] = field(default_factory=dict)
    state: str = "done"
    claimed: bool = False

    @property
    def tracking_run(self) -> str | None:
        return self.tracker.run_id


@contextlib.contextmanager
def begin_run(
    kind: str,
    config: Tracked,
    folder: RunFolder,
    *,
    recorded: Config,
    text: str | None = None,
    data: DataUsed | None = None,
    tags: Mapping[str, str] | None = None,
    fields: Mapping[str, Any] | None = None,
    files: Mapping[str, str] | None = None,
) -> Generator[LiveRun]:
    """Begin a run, and end it as the body ends.

    Args:
        recorded: The resolved config, for the record and for `config.yaml`.
        text: Content of `config.yaml`; by default `recorded`.
        data: The data that the run works on.
        tags: Of the record.
        fields: More fields of `RunState`.
        files: More files by name, written before `run.json`.

    Raises:
        TrackingError: The record cannot be created; the run does not begin then.
        KeyboardInterrupt: Ctrl-C or SIGTERM has ended the run.
    """
    clock = time.time()
    described = describe_run(kind, recorded, folder, data)
    all_tags = {"attn.kind": kind, **(tags or {})}
    with progress.task("opening the MLflow record", patience=1.0):
        tracking_run = create_run(config.tracking, config.root, folder.run_id, recorded, described, tags=all_tags)
    _close_former(config, folder)
    base = read_document(files["base.yaml"], "base.yaml").values if files and "base.yaml" in files else None
    recipe = None if (start := started()) is None else start.baseline(recorded)
    values, recipes = (None if one is None else one.model_dump(mode="json") for one in (recorded, recipe))
    about = about_of(kind, values or {}, base, recipes).to_json()
    begun = {"kind": kind, "state": "running", "about": about, "started": clock, "tracking_run": tracking_run}
    content = text or dump_config(recorded, f"The resolved config of {kind} {folder.run_id}.")
    replaces = folder.exists()
    with _lived(config, folder, tracking_run) as run:
        for name, given in (files or {}).items():
            folder.write(name, given)
        if not replaces:  # a process that dies now leaves no run that cannot go on
            folder.write("config.yaml", content)
        folder.begin(**begun, **process_fields(), **(fields or {}))
        run.claimed = True
        forget_start(folder)
        if replaces:
            folder.write("config.yaml", content)
        with progress.task("recording where the run comes from", patience=progress.QUIET_SECONDS):
            record_origin(folder, data=None if data is None else data.fingerprint)
        yield run


def _close_former(config: Tracked, folder: RunFolder) -> None:
    """Send the waiting entries of the MLflow record of a run that is replaced, and close the record."""
    former = folder.state() if folder.exists() else None
    if former is None or (record := former.tracking_run) is None:
        return
    with warned("the record of the run that was here could not be closed"):
        if former.state in ENDED:
            send_pending(config.tracking, config.root, record, folder.uri)
        else:
            terminate(config.tracking, config.root, record, "cancelled", folder.uri)


@contextlib.contextmanager
def continue_run(
    config: Tracked,
    folder: RunFolder,
    *,
    fields: Mapping[str, Any] | None = None,
    others: bool = True,
) -> Generator[LiveRun]:
    """Continue a run that has begun before, and end it as the body ends.

    Args:
        fields: More fields of `RunState`.
        others: Whether another process may be driving it. Only its sweep drives a trial.

    Raises:
        RunError: Another process is driving the run.
        KeyboardInterrupt: Ctrl-C or SIGTERM has ended the run.
    """
    state = folder.state()
    if others:
        check_ended(folder, state)
    with _lived(config, folder, state.tracking_run, state.seconds or 0.0) as run:
        by_this = all(getattr(state, name) == value for name, value in process_fields().items())  # a sweep's trial
        if others and state.state == "running" and not by_this:
            note_end(folder, f"{process_text(state)} ended without a word", WorkersLostError.code)
        marks = {
            "state": "running",
            "resumed": time.time(),
            "ended": None,
            "error": None,
            "cause": None,
            **process_fields(),
        }
        folder.update(**marks, **(fields or {}))
        run.claimed = True
        yield run


@contextlib.contextmanager
def begin_or_continue(
    kind: str,
    config: Tracked,
    folder: RunFolder,
    *,
    recorded: Config,
    work: Mapping[str, Any] | None = None,
    data: DataUsed | None = None,
    tags: Mapping[str, str] | None = None,
    fields: Mapping[str, Any] | None = None,
    kept: Collection[str] = (),
    shown: Collection[str] = (),
) -> Generator[LiveRun]:
    """Continue the run in a folder if it has the same config and work, else begin a new run there.

    This process does the work, so it keeps freed memory (`attn.training.allocator`).

    Args:
        recorded: As for `begin_run`, which also takes the other arguments. A run with another config is another run.
        work: Fields of `RunState` that say what the run works on. If they are given, a run that differs in them is
            another run. One that is done begins anew with the same config and work, and is not replaced by another.
        kept: Fields of `RunState` that a new run copies from the run before it in this folder.
        shown: Fields of the config that only say what is drawn beside the result.

    Raises:
        RunError: As `claim`; or another run in the folder is done.
    """
    keep_freed_memory()
    state, fields = claim(folder, kind, again=True), {**(work or {}), **(fields or {})}
    before = {} if state is None else state.to_json()
    if before and folder.exists("config.yaml"):
        there = read_document(folder.read_text("config.yaml"), folder.path("config.yaml")).values
        other, changed = changed_work(work or {}, before), changed_fields(recorded, there)
        done = before.get("state") == "done"
        if work is not None and done:
            known = [name for name in other if name in before]  # an earlier version wrote fewer of them
            refuse_replacing(folder, [*known, *(name for name in changed if is_input(name) and name not in shown)])
        elif not other and not changed:
            with continue_run(config, folder, fields=fields) as run:
                yield run
            return
    fields |= {name: before[name] for name in kept if name in before and name not in fields}
    with (
        starting(folder, kind),
        begin_run(kind, config, folder, recorded=recorded, data=data, tags=tags, fields=fields) as run,
    ):
        yield run


def target_of(folder: RunFolder) -> str:
    """The model, or the map store and version, that a run works on.

    Raises:
        RunError: Its `run.json` does not say it.
    """
    state = folder.state()
    target = state.target
    if target is None and isinstance(state.maps, str) and state.version is not None:  # of an earlier version
        target = f"{state.maps}@{state.version}"
    target = target or state.model
    if target is None:
        raise RunError(f"run {folder.run_id!r} does not say what it works on: begin a new one")
    return target


def config_of(folder: RunFolder, kind: type[C]) -> C:
    """The config that a run began with; its root is where the run lies now.

    Raises:
        ConfigError: With all faults.
    """
    root = override_of("root", folder.root)
    return resolve(kind, folder.read_text("config.yaml"), folder.path("config.yaml"), [root])


def say_done(folder: RunFolder) -> None:
    """Tell the user that a run needs no resuming."""
    progress.say(f"{folder.run_id} is done already: nothing is run again")


@contextlib.contextmanager
def warned(what: str, kind: type[Exception] = AttnError) -> Generator[None]:
    """Print an error of this kind that the body raises, and continue after the body."""
    try:
        yield
    except kind as error:
        print(f"{what}: {error}", file=sys.stderr)


@contextlib.contextmanager
def _lived(config: Tracked, folder: RunFolder, tracking_run: str | None, seconds: float = 0.0) -> Generator[LiveRun]:
    run = LiveRun(folder, attach(config.tracking, config.root, tracking_run, folder.uri))
    begun = time.monotonic()

    def check() -> None:
        if run.claimed:
            check_claim(folder)

    def note(state: str, **fields: Any) -> None:
        lasted = round(seconds + time.monotonic() - begun, 1)
        closed = {} if state == "waiting" else {"ended": time.time()}
        folder.update(state=state, seconds=lasted, **closed, **fields)

    def close(state: str) -> None:
        with warned("the run's end could not be recorded"):
            run.tracker.terminate(state)

    def end(state: str, **fields: Any) -> None:
        with ignore_signals(), patience(min(END_PATIENCE_SECONDS, storage_patience(config))):
            try:
                check()
            except RunError as error:
                print(f"the run's end is not recorded: {error}", file=sys.stderr)
                return
            except StorageAwayError as error:
                print(f"the run's end could not be recorded: {error}", file=sys.stderr)
            else:
                with warned("the run's end could not be recorded"):
                    note(state, **fields)
            close(state)

    with sigterm_as_interrupt(), patience(storage_patience(config)), heartbeat(folder):
        try:
            yield run
        except (KeyboardInterrupt, SystemExit):  # Ray's handlers end the process by SystemExit
            end("cancelled")
            raise folder.cancelled() from None
        except BaseException as error:
            cause = cause_of(error)
            end("failed", error=fault_text(error), **({} if cause is None else {"cause": cause}))
            raise
        with ignore_signals():
            try:
                check()
            except StorageAwayError:
                close("failed")
                raise
            try:
                note(run.state, **run.outputs)
            except AttnError:  # what it has left is in no `run.json`: that is no success
                close("failed")
                raise
            except (TypeError, ValueError) as error:  # an output that `run.json` cannot hold
                end("failed", error=fault_text(error))
                raise
            if run.state != "waiting":
                close(run.state)


def storage_patience(config: Tracked) -> float:
    """Seconds that a run waits for an object store that does not answer."""
    return patience_of(config.cluster.storage_patience if isinstance(config, RunConfig) else DEFAULT_PATIENCE_SECONDS)


def fault_text(error: BaseException) -> str:
    """The error that ended a run, in a line; for an unexpected error with its class."""
    error = out_of_memory(error) or error
    return str(error) if isinstance(error, AttnError) else f"{type(error).__name__}: {error}"
