"""A journal of records that could not be sent to the tracking server yet: JSON lines in the run's folder, in order."""

from __future__ import annotations

__all__ = ["JOURNAL", "Journal"]

import contextlib
import errno
import json
import os
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from attn.config.base import is_remote
from attn.errors import AttnError
from attn.files.locations import join, read_bytes
from attn.files.transfer import exists, write_bytes
from attn.parsing import load_json

JOURNAL = "tracking/journal.jsonl"
MAX_LINES = 20_000
MAX_BYTES = 256 << 20
"""Maximum size of lines and pictures together; a preview has about a tenth of a MiB."""

ScoreName = Annotated[str, Field(pattern=r"^scores/")]
ScoreTag = Annotated[str, Field(pattern=r"^attn\.(protocol|evaluation)\.")]
PictureFile = Annotated[str, Field(pattern=r"^tracking/[0-9]{6,9}\.png$")]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Metrics(_Record):
    do: Literal["metrics"]
    metrics: list[Annotated[tuple[str, float, int, int], Field(strict=False)]]


class _Tags(_Record):
    do: Literal["tags"]
    tags: dict[str, str]


class _Text(_Record):
    do: Literal["text"]
    path: str
    text: str


class _Files(_Record):
    do: Literal["files"]
    local: str
    path: str


class _Picture(_Record):
    do: Literal["picture"]
    path: str
    picture: PictureFile


class _Preview(_Record):
    do: Literal["preview"]
    name: str
    step: int
    at: int
    picture: PictureFile


class _Scores(_Record):
    """Scores for another run's record: a journal must not be able to write anything else there."""

    do: Literal["scores"]
    run: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    metrics: list[Annotated[tuple[ScoreName, float, int, int], Field(strict=False)]]
    tags: dict[ScoreTag, str]


class _End(_Record):
    do: Literal["end"]
    state: Literal["done", "failed", "cancelled", "stopped"]
    at: int


RECORD: TypeAdapter[Any] = TypeAdapter(
    Annotated[_Metrics | _Tags | _Text | _Files | _Picture | _Preview | _Scores | _End, Field(discriminator="do")]
)


class Journal:
    """Buffered records, oldest first. A record's picture is a separate file, named by its field `picture`.

    The journal is read on first use. On a local disk, records are appended to the file; in an object store, the file is
    written as a whole. After a crash, an incomplete last line is ignored.

    Attributes:
        lost: Number of records of this process that could not be buffered.
    """

    def __init__(self, folder: str) -> None:
        self.folder, self.lost = folder, 0
        self._bytes, self._pictures, self._torn = 0, 0, False

    @cached_property
    def records(self) -> list[dict[str, Any]]:
        """The buffered records; unreadable lines are skipped."""
        results: list[dict[str, Any]] = []
        try:
            text = read_bytes(self.location) if exists(self.location) else b""
        except AttnError:
            return results
        for line in text.splitlines():
            try:
                results.append(self._checked(load_json(line)))
            except (ValueError, KeyError, TypeError):
                self.lost += 1
        self._bytes, self._torn = len(text), bool(text) and not text.endswith(b"\n")
        self._pictures = max((int(Path(one["picture"]).stem) for one in results if "picture" in one), default=0)
        return results

    def _checked(self, record: dict[str, Any]) -> dict[str, Any]:
        """Validate a record, and that it names only files of the run, so that no other files are sent or removed."""
        RECORD.validate_python(record)
        if "local" in record and not Path(record["local"]).resolve().is_relative_to(Path(self.folder).resolve()):
            raise ValueError("no files of the run")
        return record

    @property
    def location(self) -> str:
        return join(self.folder, JOURNAL)

    def add(self, record: dict[str, Any], picture: bytes = b"") -> None:
        """Buffer a record. If that fails, it is counted in `lost`; the run continues."""
        size = len(json.dumps(record)) + len(picture)
        if len(self.records) >= MAX_LINES or self._bytes + size > MAX_BYTES:
            self.lost += 1
            return
        kept = len(self.records)
        try:
            if picture:
                record = {**record, "picture": f"tracking/{self._pictures + 1:06d}.png"}
                write_bytes(join(self.folder, record["picture"]), picture)
                self._pictures += 1
            self.records.append(record)
            if is_remote(self.folder):
                self.save()
            else:
                self._append(record)
            self._bytes += size
        except (AttnError, OSError, ValueError):
            del self.records[kept:]  # else it would be both sent and counted as lost
            self.lost += 1

    def _append(self, record: dict[str, Any]) -> None:
        """Append a record to the journal's file, without following symbolic links."""
        line = ("\n" if self._torn else "") + json.dumps(record) + "\n"
        Path(self.location).parent.mkdir(parents=True, exist_ok=True)
        kind = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with os.fdopen(os.open(self.location, kind, 0o666), "wb", buffering=0) as stream:
            self._torn = True
            if stream.write(line.encode()) < len(line.encode()):
                raise OSError(errno.ENOSPC, "the record was written only partly")
            os.fsync(stream.fileno())
            self._torn = False

    def picture(self, record: dict[str, Any]) -> NDArray[np.uint8]:
        """The picture of a record."""
        from attn.data.decode import read_image

        return read_image(join(self.folder, record["picture"]))

    def pop(self) -> None:
        """Remove the oldest record after it was sent; `save` updates the file."""
        record = self.records.pop(0)
        if "picture" in record and not is_remote(self.folder):
            with contextlib.suppress(OSError):
                Path(self.folder, record["picture"]).unlink(missing_ok=True)

    def save(self) -> None:
        """Write the buffered records to the file, or remove the file if there are none."""
        if self.records or is_remote(self.folder):
            write_bytes(self.location, "".join(json.dumps(record) + "\n" for record in self.records).encode())
        else:
            with contextlib.suppress(OSError):
                Path(self.location).unlink(missing_ok=True)
        self._bytes, self._torn = self._bytes if self.records else 0, False
