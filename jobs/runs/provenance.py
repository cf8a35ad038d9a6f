"""What a run was made with, kept in its folder: packages, commit and changes, command, data."""

from __future__ import annotations

__all__ = ["CHANGES", "ORIGIN", "read_described", "read_origin", "record_origin"]

import json
import sys
from pathlib import Path
from typing import Any

from attn.data.names import text_fault
from attn.errors import RunError
from attn.redaction import without_secrets
from attn.tracking.environment import environment, frozen_requirements, git_changes
from jobs.runs.run_folder import RunFolder

ORIGIN, CHANGES, MODEL = "origin.json", "changes.patch", "model/model.json"
TEXTS, LISTS = ("attn", "commit", "data", "python"), ("pins",)


def record_origin(folder: RunFolder, **fields: Any) -> None:
    """Keep what a run begins with; called once for each run.

    Args:
        fields: More to be kept, as plain values.
    """
    changes = git_changes()
    if changes.patch:
        folder.write(CHANGES, changes.patch)
    found = {
        **environment(),
        "command": _command(),
        "pins": frozen_requirements(),
        "untracked": changes.untracked,
        **fields,
    }
    folder.write(ORIGIN, json.dumps(found, indent=1))


def read_origin(folder: RunFolder) -> dict[str, Any]:
    """What `record_origin` kept; empty of a run from before it was kept.

    Raises:
        RunError: It is damaged.
    """
    found = folder.read_json(ORIGIN)
    for names, is_valid in ((TEXTS, _is_text), (LISTS, _are_texts)):
        for name in names:
            if found.get(name) is not None and not is_valid(found[name]):
                raise RunError(f"{folder.path(ORIGIN)} is damaged: {name} is not what it has to be")
    return found


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and text_fault(value) is None


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def read_described(folder: RunFolder) -> tuple[str | None, str | None]:
    """What a run's `model.json` says of its data's fingerprint and of its weights' SHA-256; None where it does not."""
    described = folder.read_json(MODEL)
    info = described.get("info")
    data, weights = info.get("data") if isinstance(info, dict) else None, described.get("sha256")
    return data if isinstance(data, str) else None, weights if isinstance(weights, str) else None


def _command() -> list[str] | None:
    """The command line, where this is the program `attn`."""
    if Path(sys.argv[0]).name != "attn":
        return None
    return ["attn", *(without_secrets(word) for word in sys.argv[1:])]
