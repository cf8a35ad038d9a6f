"""Who answers for a run: the service of its root if the run is the service's job, else the run's own files."""

from __future__ import annotations

__all__ = ["LocalRun", "ServiceAnswer", "service_of"]

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from attn.driver_process import DRIVEN, Driver, end_driver, gone_text, process_text
from attn.errors import AttnError, RunError
from jobs.runs.heartbeat import run_driver
from jobs.runs.listing import RunEntry, entry_of, find_run, parent_of
from jobs.runs.reported import last_report, seconds_left
from jobs.runs.run_folder import NoSuchRunError, RunFolder
from jobs.runs.starting import start_of
from services.calls import ContactLostError
from services.client import Client, NoSuchJobError, connect, job_path
from services.discovery import ADDRESS_FILE, find_service, state_dir_of
from services.log import read_log
from services.runner import StateDir
from services.unsettled import has_ended_since

POLL_SECONDS = 1.0


class ServiceAnswer(NamedTuple):
    """The service that answers for a run; `job` is the job's status if it was asked for already."""

    client: Client
    job: dict[str, Any] | None


def service_of(run: str, root: str, given: str | None, *, must_answer: bool = False) -> ServiceAnswer | None:
    """The service that answers for a run.

    Args:
        run: A run's id, or its folder.
        given: URL of a service that the user names; it answers then, whatever the root says.
        must_answer: The run's files do not answer for a service that seems to run and cannot be reached.

    Returns:
        None if no service of this root has the run as a job: its files answer.

    Raises:
        ConfigError: No job of the given service can have this name.
        NoSuchRunError: There is neither such a run nor a service.
        NoSuchJobError: There is neither such a run nor such a job.
        ContactLostError: The service of the root has ended, and there is no such run; or see `must_answer`.
    """
    if given:
        job_path(run)  # a folder here says nothing to a service elsewhere
        return ServiceAnswer(connect(root, given), None)
    folder = RunFolder.of(run, root)
    where = folder.root if "/" in run else root
    address = None
    try:
        address = find_service(where)
        if address is not None:
            client = Client(address.url, where)
            return ServiceAnswer(client, client.job(folder.run_id))
    except NoSuchJobError:
        if _is_known(folder):
            return None
        raise
    except ContactLostError as error:
        if address is not None and must_answer:
            file = f"{state_dir_of(where)}/{ADDRESS_FILE}"
            raise ContactLostError(f"{error}; if that service has ended, remove {file}") from None
        if _is_known(folder):
            return None
        raise
    if not folder.exists():
        try:
            find_run(folder)
        except NoSuchRunError as error:
            text = f"{error}; and no service runs for {where}, which might have such a job: `attn serve --root {where}`"
            raise NoSuchRunError(text) from None
    return None


def _is_known(folder: RunFolder) -> bool:
    """Whether there is a run, or a process is starting one."""
    return folder.exists() or start_of(folder) is not None


@dataclass(frozen=True)
class LocalRun:
    """A run that was started without a service, or by one that has ended: what its files and its process say."""

    folder: RunFolder

    @classmethod
    def of(cls, run: str, root: str) -> LocalRun:
        return cls(RunFolder.of(run, root))

    def entry(self) -> RunEntry:
        """Its state now.

        Raises:
            RunError: It cannot be read.
        """
        return entry_of(self.folder, find_run(self.folder))

    def has_ended_since(self, job: Mapping[str, Any]) -> bool:
        """As the function, of a run whose files may be missing or damaged."""
        try:
            return has_ended_since(self.folder.state(), job)
        except AttnError:
            return False

    def progress(self) -> dict[str, Any]:
        """What it, or a pipeline's current stage, reported last in this attempt; empty if nothing can be read."""
        try:
            return last_report(self.folder, self.folder.state())
        except AttnError:
            return {}

    def seconds_left(self) -> float | None:
        """How long it will take, as far as it said so in the last two minutes."""
        return seconds_left(self.progress())

    def wait(self) -> RunEntry:
        """Its state once it has ended.

        Raises:
            RunError: Another machine drives it, whose process may end without a word.
        """
        while True:
            entry = self.entry()
            driver = self._driver(entry)
            if driver == "elsewhere":
                raise RunError(
                    f"run {self.folder.run_id!r} is driven by {process_text(entry.state)}, which this machine cannot "
                    f"see, so --wait might never end: give it there, or ask `attn status {self.folder.reference}` again"
                )
            if driver != "here":
                return replace(entry, driver=driver)
            time.sleep(POLL_SECONDS)

    def _driver(self, entry: RunEntry) -> Driver | None:
        """As `entry.driver`; a trial that waits for its next turn is driven by its sweep."""
        if entry.state.state != "waiting" or (sweep := parent_of(self.folder, entry.state)) is None:
            return entry.driver
        return run_driver(sweep, sweep.state()) or "gone"

    def log(self, offset: int, *, follow: bool) -> Iterator[bytes]:
        """Pieces of its log from a byte offset on.

        Raises:
            RunError: It has no log: only jobs of a service do.
        """
        path = StateDir(self.folder.root, Path(state_dir_of(self.folder.root))).log(self.folder.run_id)
        if not path.is_file():
            raise RunError(
                f"run {self.folder.run_id!r} was started in a terminal, which shows what it says, and has no log; "
                f"`attn status {self.folder.reference}` says how far it is"
            )
        while True:
            running = run_driver(self.folder, self.folder.state()) in ("here", "elsewhere")
            data, whole = read_log(path, offset, ended=not running)
            offset += len(data)
            if data:
                yield data
            elif whole or not follow:
                return
            else:
                time.sleep(POLL_SECONDS)

    def cancel(self, *, now: bool) -> None:
        """Ask the process that drives the run to close it, or kill it.

        Raises:
            RunError: It has ended, belongs to another run, or is driven by another machine; says what to do.
        """
        name, state = self.folder.run_id, find_run(self.folder)
        resuming = self.folder.resuming
        if state.state not in DRIVEN:
            raise RunError(f"run {name!r} has ended: {state.state}; there is nothing to cancel")
        if (parent := parent_of(self.folder, state)) is not None:
            if state.number is not None:
                raise RunError(f"run {name!r} is a trial of a sweep: `attn cancel {parent.reference}` ends all of it")
            if parent.state().state == "running":
                raise RunError(
                    f"run {name!r} is a stage of a pipeline: `attn cancel {parent.reference}` ends all of it"
                )
        driver = run_driver(self.folder, state)
        if driver == "gone":
            raise RunError(f"run {name!r} is interrupted: {gone_text(state)}; {resuming} goes on with it")
        if driver == "elsewhere":
            raise RunError(
                f"run {name!r} is driven by {process_text(state)}, which this machine cannot reach: "
                f"`attn cancel {name} --root {self.folder.root}` works there"
            )
        end_driver(state, now=now)
