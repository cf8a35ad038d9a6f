"""The files of a run that its page shows as they are: figures of each epoch, pictures, and the log."""

from __future__ import annotations

__all__ = ["Pictures", "curves_of", "is_own", "picture_of", "pictures_of", "tail_of"]

import json
import re
from dataclasses import dataclass
from pathlib import Path

from attn.errors import AttnError, RunError
from attn.files.locations import list_files, list_folders
from attn.files.roots import is_inside
from jobs.runs.reported import finite
from jobs.runs.run_folder import RunFolder
from services.log import read_log

PNG = b"\x89PNG\r\n\x1a\n"
MAX_PICTURE = 64 << 20
MAX_SERIES = 200
TAIL_BYTES = 48 << 10
EPOCH = re.compile(r"epoch-(\d{1,6})\.png")
FOLDERS = ("preview", "growth", "panels", "masks", "cues")
SINGLE = ("sheet.png", "comparison.png", "curves.png", "grid.png", "space.png")
MOST_PREVIEWS = 24


@dataclass(frozen=True)
class Pictures:
    """The pictures of a run.

    Attributes:
        previews: Epochs that were drawn, by the name of the image.
        single: Names of other pictures, relative to the run's folder.
    """

    previews: dict[str, list[int]]
    single: list[str]

    @property
    def epochs(self) -> list[int]:
        """All epochs of which there is a preview."""
        return sorted({epoch for epochs in self.previews.values() for epoch in epochs})


def is_own(folder: RunFolder, name: str) -> bool:
    """Whether a run has a file, to which no link leads from elsewhere: whoever writes a folder could show any file."""
    return folder.exists(name) and is_inside(folder.path(name), folder.uri)


def curves_of(folder: RunFolder) -> dict[str, list[tuple[int, float]]]:
    """Figures (epoch, value) by name, from `metrics.jsonl`; lines that are damaged are left out."""
    results: dict[str, list[tuple[int, float]]] = {}
    if not is_own(folder, "metrics.jsonl"):
        return results
    for line in folder.read("metrics.jsonl").splitlines():
        try:
            values = json.loads(line)
        except (ValueError, RecursionError):
            continue
        epoch = values.pop("epoch", None) if isinstance(values, dict) else None
        if not isinstance(epoch, int) or isinstance(epoch, bool):
            continue
        for name, value in values.items():
            number = finite(value)
            wanted = name not in ("step", "seconds") and (name in results or len(results) < MAX_SERIES)
            if number is not None and wanted:
                results.setdefault(str(name), []).append((epoch, number))
    # A run that was resumed has written some epochs twice: the later line counts.
    return {name: sorted(dict(points).items()) for name, points in results.items()}


def pictures_of(folder: RunFolder) -> Pictures:
    """The pictures that a run has drawn."""
    try:
        names = list_folders(folder.path("preview")) if "preview" in list_folders(folder.uri) else []
        previews = {name: _epochs(folder, name) for name in names[:MOST_PREVIEWS]}
        single = [name for name in list_files(folder.uri) if name in SINGLE]
    except AttnError:
        return Pictures({}, [])
    return Pictures({name: epochs for name, epochs in previews.items() if epochs}, single)


def _epochs(folder: RunFolder, name: str) -> list[int]:
    matches = map(EPOCH.fullmatch, list_files(folder.path(f"preview/{name}")))
    return sorted(int(match[1]) for match in matches if match is not None)


def picture_of(folder: RunFolder, name: str) -> bytes:
    """A picture of a run's folder: a PNG that no link leads out of it.

    Raises:
        RunError: There is no such picture.
    """
    first, *others = parts = name.split("/")
    known = first in FOLDERS if others else first in SINGLE
    location = folder.path(name)
    if known and name.endswith(".png") and not {"", ".", ".."} & set(parts) and is_inside(location, folder.uri):
        try:
            data = folder.read(name)
        except (AttnError, ValueError):
            data = b""
        if data.startswith(PNG) and len(data) <= MAX_PICTURE:
            return data
    raise RunError(f"run {folder.run_id!r} has no picture {name!r}")


def tail_of(path: Path, *, ended: bool) -> str:
    """The end of a log, whole lines; empty where there is none."""
    try:
        size = path.stat().st_size
    except OSError:
        return ""
    begin = max(0, size - TAIL_BYTES)
    data = read_log(path, begin, ended=ended)[0]
    if begin:
        data = data[data.find(b"\n") + 1 :]
    return data.decode("utf-8", "replace")
