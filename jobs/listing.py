"""Which runs there are under a root."""

from __future__ import annotations

__all__ = ["list_runs"]

from typing import Any

from attn.data.files import list_folders
from attn.errors import AttnError
from jobs.run_folder import RunFolder


def list_runs(root: str) -> list[dict[str, Any]]:
    """The state of every run under a root, newest first; a folder without a readable `run.json` is no run."""
    runs = []
    for name in list_folders(root):
        try:
            runs.append(RunFolder(root, name).state())
        except (AttnError, ValueError):
            continue
    return sorted(runs, key=lambda run: run.get("started", 0.0), reverse=True)
