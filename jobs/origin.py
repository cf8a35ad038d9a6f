"""What a run was made with, kept in its folder: packages, commit and changes, command, data."""

from __future__ import annotations

__all__ = ["CHANGES", "ORIGIN", "read_origin", "record_origin"]

import json
import sys
from pathlib import Path
from typing import Any

from attn.redaction import without_secrets
from attn.tracking.environment import environment, git_changes, pins
from jobs.run_folder import RunFolder

ORIGIN, CHANGES = "origin.json", "changes.patch"


def record_origin(folder: RunFolder, **fields: Any) -> None:
    """Keep what a run begins with; a resumed run keeps what it began with.

    Args:
        fields: More to be kept, as plain values.
    """
    if folder.exists(ORIGIN):
        return
    changes = git_changes()
    if changes.patch:
        folder.write(CHANGES, changes.patch)
    found = {
        **environment(),
        "command": _command(),
        "pins": pins(),
        "untracked": changes.untracked,
        **fields,
    }
    folder.write(ORIGIN, json.dumps(found, indent=1))


def read_origin(folder: RunFolder) -> dict[str, Any]:
    """What `record_origin` kept; empty of a run from before it was kept."""
    return folder.read_json(ORIGIN)


def _command() -> list[str] | None:
    """The command line, where this is the program `attn`."""
    if Path(sys.argv[0]).name != "attn":
        return None
    return ["attn", *(without_secrets(word) for word in sys.argv[1:])]
