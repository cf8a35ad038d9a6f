"""Errors that a user can fix. A message says what was given, what was expected, and how to fix it.

Each class has a stable `code` and the command line's exit status. Programming errors are not wrapped and keep their
traceback.
"""

from __future__ import annotations

__all__ = [
    "AttnError",
    "ConfigError",
    "DataError",
    "Fault",
    "RunError",
    "StorageAwayError",
    "TrackingError",
    "WeightsError",
    "WorkersLostError",
    "cause_of",
]

from dataclasses import dataclass


class AttnError(Exception):
    """A fault of the input or the environment. The message alone must suffice to fix it."""

    code = "error"
    exit_status = 1


@dataclass(frozen=True)
class Fault:
    """One fault of a configuration: its location, what is wrong, and a hint how to fix it."""

    where: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" + (f" ({self.hint})" if self.hint else "")


class ConfigError(AttnError):
    """A configuration has faults; lists all of them."""

    code = "config"
    exit_status = 2

    def __init__(self, faults: list[Fault] | str) -> None:
        self.faults = [Fault("config", faults)] if isinstance(faults, str) else faults
        count = len(self.faults)
        head = "" if isinstance(faults, str) else f"{count} fault{'s' if count > 1 else ''} in the configuration:\n"
        body = faults if isinstance(faults, str) else "\n".join(f"  {fault}" for fault in self.faults)
        super().__init__(head + body)


class DataError(AttnError):
    """A data set or one of its files is missing, broken or inconsistent; the message names the file."""

    code = "data"


class WeightsError(AttnError):
    """Weights or a checkpoint cannot be found or read, or do not fit the network."""

    code = "weights"


class TrackingError(AttnError):
    """The tracking server cannot be reached or refuses."""

    code = "tracking"


class RunError(AttnError):
    """A run cannot be found, started or resumed."""

    code = "run"


class StorageAwayError(AttnError):
    """The object store did not answer for longer than this process waits; the same may succeed later.

    It is no error of a file: what skips or replaces broken files lets it pass.
    """

    code = "storage"


class WorkersLostError(RunError):
    """Processes of a run were lost, with their machine say, more often than it starts again."""

    code = "lost"


def cause_of(error: BaseException | None) -> str | None:
    """What ended a run where that was no fault of the run itself: `storage` or `lost`; None for all other errors.

    The same run may succeed if it goes on later.
    """
    while error is not None:
        if isinstance(error, (StorageAwayError, WorkersLostError)):
            return error.code
        error = error.__cause__
    return None
