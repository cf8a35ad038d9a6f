"""Which runs there are under a root."""

from __future__ import annotations

__all__ = ["list_runs"]

from attn.errors import AttnError
from attn.files.locations import list_folders
from attn.run_state import BROKEN, RunState
from jobs.runs.run_folder import NoSuchRunError, RunFolder, is_run_id


def list_runs(root: str) -> list[RunState]:
    """The state of every run under a root, newest first.

    A folder without `run.json` is no run. A run that cannot be read is in the state `broken`, with the `error`.
    """
    runs: list[RunState] = []
    for name in filter(is_run_id, list_folders(root)):
        try:
            runs.append(RunFolder(root, name).state())
        except NoSuchRunError:
            continue
        except AttnError as error:
            runs.append(RunState.of({"id": name, "state": BROKEN, "error": str(error)}))
    return sorted(runs, key=lambda run: run.started or 0.0, reverse=True)
