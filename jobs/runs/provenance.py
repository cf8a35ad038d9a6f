"""Provenance of a run, in its folder: packages, commit and changes, command, data."""

from __future__ import annotations

__all__ = [
    "CHANGES",
    "ORIGIN",
    "Origin",
    "command_line",
    "origin_folder",
    "read_changes",
    "read_described",
    "read_origin",
    "record_origin",
]

import json
import sys
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from attn.data.names import text_fault
from attn.errors import RunError
from attn.redaction import without_secrets
from attn.runs.started import started
from attn.source_tree import git_changes
from attn.tracking.environment import environment, frozen_requirements
from jobs.runs.run_folder import RunFolder

ORIGIN, CHANGES, MODEL = "origin.json", "changes.patch", "model/model.json"
TEXTS, LISTS = ("attn", "commit", "data", "python", "recipe"), ("command", "pins", "untracked")


def record_origin(folder: RunFolder, *, data: str | None = None) -> None:
    """Keep what a run begins with; called once for each run.

    Args:
        data: Fingerprint of the run's data.
    """
    changes = git_changes()
    if changes.patch:
        folder.write(CHANGES, changes.patch)
    values = {
        **environment(),
        "command": command_line(),
        "pins": frozen_requirements(),
        "untracked": changes.untracked,
        **({"recipe": start.recipe.name} if (start := started()) else {}),
        **({"data": data} if data else {}),
    }
    folder.write(ORIGIN, json.dumps(values, indent=1))


@dataclass(frozen=True)
class Origin:
    """Code and environment that a run began with, from `record_origin`; None: not known.

    Attributes:
        values: All that was noted, as plain values; empty of a run from before anything was noted.
        recipe: Name of the recipe that it started from.
        pins: Every installed package as `name==version`.
        untracked: Python and YAML files that git did not know.
        data: Fingerprint of the run's data.
    """

    values: dict[str, Any]
    attn: str | None = None
    python: str | None = None
    commit: str | None = None
    command: list[str] | None = None
    pins: list[str] = field(default_factory=list)
    untracked: list[str] = field(default_factory=list)
    data: str | None = None
    recipe: str | None = None


def read_origin(folder: RunFolder) -> Origin:
    """Read what `record_origin` noted; of a trial, what its sweep noted.

    Raises:
        RunError: It is damaged.
    """
    folder = origin_folder(folder)
    values = folder.read_json(ORIGIN)
    for names, is_valid in ((TEXTS, _is_text), (LISTS, _are_texts)):
        for name in names:
            if values.get(name) is not None and not is_valid(values[name]):
                raise RunError(f"{folder.path(ORIGIN)} is damaged: {name} is not what it has to be")
    names = [one.name for one in fields(Origin) if one.name != "values"]
    return Origin(values, **{name: values[name] for name in names if values.get(name) is not None})


def read_changes(folder: RunFolder) -> str | None:
    """The changes to the commit that a run began with; None if none were noted."""
    folder = origin_folder(folder)
    return folder.read_text(CHANGES) if folder.exists(CHANGES) else None


def origin_folder(folder: RunFolder) -> RunFolder:
    """The folder that `record_origin` wrote into: the run's own, of a trial and its stages that of the sweep."""
    inner = folder
    while not inner.exists(ORIGIN):
        above = RunFolder.around(inner)
        if above is None:
            return folder
        inner = above
    return inner


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and text_fault(value) is None


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def read_described(folder: RunFolder) -> tuple[str | None, str | None]:
    """Fingerprint of the data and SHA-256 of the weights in a run's `model.json`; None for what it lacks."""
    described = folder.read_json(MODEL)
    info = described.get("info")
    data, weights = info.get("data") if isinstance(info, dict) else None, described.get("sha256")
    return data if isinstance(data, str) else None, weights if isinstance(weights, str) else None


def command_line() -> list[str] | None:
    """The command line without secrets, where this is the program `attn`."""
    if Path(sys.argv[0]).name != "attn":
        return None
    return ["attn", *(without_secrets(word) for word in sys.argv[1:])]
