"""Which runs there are under a root."""

from __future__ import annotations

__all__ = ["list_runs"]

from typing import Any

from attn.errors import AttnError
from attn.files.locations import list_folders
from attn.run_state import BROKEN
from jobs.runs.run_folder import NoSuchRunError, RunFolder, is_run_id


def list_runs(root: str) -> list[dict[str, Any]]:
    """The state of every run under a root, newest first.

    A folder without `run.json` is no run. A run that cannot be read is in the state `broken`, with the `error`.
    """
    runs: list[dict[str, Any]] = []
    for name in filter(is_run_id, list_folders(root)):
        try:
            runs.append(RunFolder(root, name).state())
        except NoSuchRunError:
            continue
        except AttnError as error:
            runs.append({"id": name, "state": BROKEN, "error": str(error)})
    return sorted(runs, key=lambda run: run.get("started") or 0.0, reverse=True)
