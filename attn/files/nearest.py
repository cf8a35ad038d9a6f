"""Files that a config or a command names and that are not there: the nearest one that is."""

from __future__ import annotations

__all__ = ["did_you_mean", "missing_path", "nearest_file", "read_text"]

import difflib
import itertools
import os
from collections.abc import Iterator

from attn.config.base import is_remote
from attn.errors import ConfigError, Fault
from attn.files.roots import may_read
from attn.regular_files import read_regular

MAX_TEXT_BYTES = 4 << 20
MOST_LISTED = 5000
SIMILAR = 0.7


def nearest_file(path: str) -> str | None:
    """The file or folder with the name nearest to one that is not there; None if no name is near.

    A folder on the way may be misspelled too. Nothing is listed in S3, nor where this process may not read.
    """
    if is_remote(path) or "\0" in path:
        return None
    folder, name = os.path.split(path.rstrip("/"))
    if folder and not os.path.isdir(os.path.expanduser(folder)):
        near = nearest_file(folder) if folder != path else None
        other = os.path.join(near, name) if near is not None else ""
        return other if other and may_read(other) and os.path.exists(os.path.expanduser(other)) else None
    listed = os.path.expanduser(folder) or "."
    if not name or not may_read(listed):
        return None
    try:
        with os.scandir(listed) as entries:
            names = [entry.name for entry in itertools.islice(entries, MOST_LISTED)]
    except OSError:
        return None
    names = sorted(one for one in names if not one.startswith(".") or name.startswith("."))
    # Alike in what they are called: all configs are alike in their suffix.
    stems = difflib.get_close_matches(_stem(name), {_stem(one) for one in names}, n=1, cutoff=SIMILAR)
    near = difflib.get_close_matches(name, [one for one in names if _stem(one) in stems], n=1, cutoff=0)
    return os.path.join(folder, near[0]) if near else None


def did_you_mean(path: str) -> str:
    """The nearest file as the beginning of a hint, `did you mean photos.yaml? `; empty if there is none."""
    near = nearest_file(path)
    return "" if near is None else f"did you mean {near}? "


def missing_path(field: str, location: str | None) -> Iterator[Fault]:
    """A fault if a field names a local file or folder that is not there."""
    if location is not None and not is_remote(location) and not os.path.exists(location):
        yield Fault(field, f"there is no file or folder {location}", f"{did_you_mean(location)}correct the path")


def read_text(path: str, hint: str = "give a recipe's name or a YAML file") -> str:
    """The text of a config file.

    Args:
        hint: What can be given.

    Raises:
        ConfigError: It cannot be read, or is too large.
    """
    near = ""
    try:
        return read_regular(os.path.expanduser(path), MAX_TEXT_BYTES).decode()
    except FileNotFoundError:
        reason, near = "there is no such file", did_you_mean(path)
    except UnicodeDecodeError:
        reason = "is not UTF-8 text"
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
    raise ConfigError([Fault(path, f"cannot be read: {reason}", near + hint)])


def _stem(name: str) -> str:
    return os.path.splitext(name)[0].lower()
