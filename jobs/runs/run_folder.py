"""A run's folder: everything that one run leaves, under `<root>/<run id>`, on a local disk or in an object store."""

from __future__ import annotations

__all__ = ["DEFAULT_ROOT", "NoSuchRunError", "RunFolder", "is_record", "is_run_id", "new_run_id"]

import json
import os
import re
import secrets
import time
from pathlib import Path
from shlex import quote
from typing import Any, cast

from attn.config.base import is_remote
from attn.errors import AttnError, RunError
from attn.files import locations, transfer
from attn.files.locations import parse_error_text
from attn.parsing import load_json
from attn.redaction import has_login
from attn.run_state import RunState, check_size, sweep_of_trial

DEFAULT_ROOT = "runs"
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
RECORD = re.compile(r"mlflow\.db([._-].*)?|mlflow-artifacts")


class NoSuchRunError(RunError):
    """There is no run of this name."""


def is_run_id(name: str) -> bool:
    """Return whether a run can have this name."""
    return ID.fullmatch(name) is not None and not is_record(name)


def is_record(name: str) -> bool:
    """Return whether the record of all runs of a root lies there under this name: `attn.tracking.address`."""
    return RECORD.fullmatch(name) is not None


def new_run_id(name: str) -> str:
    """An id that says what ran and when, and is unique: `gain-20260131-120000-a1b2c3`."""
    return f"{name}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"


class RunFolder:
    """The files of one run.

    `run.json` holds its state: `running`, `done`, `failed` or `cancelled`, with times and the tracking run's id.
    """

    def __init__(self, root: str, run_id: str) -> None:
        """Name a run's folder, without creating it.

        Raises:
            RunError: The id could lead out of the root.
            DataError: The root is an object store's, and names no bucket.
        """
        if not is_run_id(run_id):
            raise RunError(f"run id {run_id!r} is not valid: letters, digits, '.', '_' and '-', up to 100")
        if is_remote(root):
            locations.split(root)  # which names a bucket, or is refused
        self.root, self.run_id = root.rstrip("/"), run_id
        self.uri = f"{self.root}/{run_id}"

    @classmethod
    def of(cls, run: str, root: str) -> RunFolder:
        """The folder of a run that a user names.

        Args:
            run: A run's id under `root`, its folder, or its folder below `root`. A trial of a sweep under `root` is
                also found by its id alone.
        """
        if has_login(run):
            raise RunError("a run's folder is named without user, password or key: set AWS_ACCESS_KEY_ID and "
                           "AWS_SECRET_ACCESS_KEY")  # fmt: skip
        root = root.rstrip("/") or "/"
        above, _, name = (run := run.rstrip("/")).rpartition("/")
        places = [above or "/" if "/" in run else root]
        if above and not is_remote(run) and not os.path.isabs(run):
            places.append(f"{root}/{above}")
        elif "/" not in run and (sweep := sweep_of_trial(run)) is not None:
            places.append(f"{root}/{sweep}")
        folders = [cls(place if is_remote(place) else os.path.abspath(place), name) for place in places]
        return next((folder for folder in folders[1:] if not folders[0].exists() and folder.exists()), folders[0])

    @classmethod
    def around(cls, folder: RunFolder) -> RunFolder | None:
        """The run whose folder this run's folder lies in, such as a trial's sweep; None if there is none."""
        root, _, name = folder.root.rpartition("/")
        if not root or not is_run_id(name):
            return None
        try:
            above = cls(root, name)
            return above if above.exists() else None
        except AttnError:
            return None

    @property
    def is_local(self) -> bool:
        return not is_remote(self.uri)

    @property
    def in_default_root(self) -> bool:
        """Whether commands find it without `--root`."""
        return self.is_local and os.path.abspath(self.root) == os.path.abspath(DEFAULT_ROOT)

    @property
    def reference(self) -> str:
        """The shortest name by which commands find it here: its id, or its folder if it is not below `runs`."""
        return self.run_id if self.in_default_root else self.uri

    @property
    def resuming(self) -> str:
        """The command that goes on with it, for a message."""
        return f"`attn resume {self.run_id}" + ("`" if self.in_default_root else f" --root {quote(self.root)}`")

    def cancelled(self) -> KeyboardInterrupt:
        """Exception that ends the command of an interrupted run; its text is shown."""
        return KeyboardInterrupt(f"run {self.run_id!r} is cancelled; {self.resuming} continues it")

    def path(self, name: str = "") -> str:
        """Location of a file of the run."""
        return f"{self.uri}/{name}" if name else self.uri

    def exists(self, name: str = "run.json") -> bool:
        return transfer.exists(self.path(name))

    def write(self, name: str, data: bytes | str) -> None:
        """Write a file whole: readers see the old content or the new one."""
        transfer.write_bytes(self.path(name), data.encode() if isinstance(data, str) else data)

    def read(self, name: str) -> bytes:
        return locations.read_bytes(self.path(name))

    def read_text(self, name: str) -> str:
        """The text of a file.

        Raises:
            RunError: It is none.
        """
        try:
            return self.read(name).decode()
        except UnicodeDecodeError as error:
            raise RunError(f"{self.path(name)} is damaged: {parse_error_text(error)}") from None

    def read_json(self, name: str) -> dict[str, Any]:
        """A JSON object of the run; empty where there is no such file.

        Raises:
            RunError: It is damaged.
        """
        if not self.exists(name):
            return {}
        try:
            values = load_json(self.read(name))
        except ValueError as error:
            raise RunError(f"{self.path(name)} is damaged: {error}") from None
        if not isinstance(values, dict):
            raise RunError(f"{self.path(name)} is damaged: expected a JSON object")
        return cast("dict[str, Any]", values)

    def state(self) -> RunState:
        """Read `run.json`; `id` is the folder's name, also of a copy.

        Raises:
            NoSuchRunError: There is no such run.
            RunError: Its `run.json` is damaged.
        """
        size = transfer.size(self.path("run.json"))
        if size is None:
            raise NoSuchRunError(f"no run {self.run_id!r} under {self.root}; `attn ls` lists the runs")
        try:
            check_size(size)  # before it is read
            state = RunState.parse(self.read("run.json"))
            return state if state.id == self.run_id else state.changed(id=self.run_id)
        except ValueError as error:
            raise RunError(f"{self.path('run.json')} is damaged and says nothing of the run: {error}") from None

    def begin(self, **fields: Any) -> None:
        """Write `run.json` anew, whatever an earlier run of this name has left in it.

        Args:
            fields: Of `RunState`, as plain values.
        """
        self._write_state(RunState(id=self.run_id).changed(**fields))

    def update(self, **changes: Any) -> None:
        """Change fields of `run.json`.

        Args:
            changes: Of `RunState`, as plain values.

        Raises:
            RunError: What is there is damaged.
        """
        try:
            state = self.state()
        except NoSuchRunError:
            state = RunState(id=self.run_id)
        self._write_state(state.changed(**changes))

    def _write_state(self, state: RunState) -> None:
        self.write("run.json", json.dumps(state.to_json(), indent=1))

    def upload(self, local: Path, name: str) -> None:
        """Put a local folder's files under a name of the run; nothing to do where they are there already.

        `model.json` goes last, so that a model with it is whole.

        Raises:
            RunError: A file could not be written, or did not arrive whole.
        """
        if self.is_local and local.resolve() == Path(self.path(name)).resolve():
            return
        for path in sorted(filter(Path.is_file, local.rglob("*")), key=lambda path: (path.name == "model.json", path)):
            target = f"{name}/{path.relative_to(local).as_posix()}"
            if self.is_local:
                self.write(target, path.read_bytes())
            else:
                transfer.upload_file(path, self.path(target))
