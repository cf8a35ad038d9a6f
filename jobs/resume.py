"""Going on with what was interrupted, of whatever kind it is."""

from __future__ import annotations

__all__ = ["resume"]

from typing import Any

from jobs import pipeline, sweep, train
from jobs.run_folder import RunFolder


def resume(run: str, *, root: str = "runs", address: str | None = None) -> dict[str, Any]:
    """Go on with a training, a pipeline or a sweep from where it stopped.

    Args:
        run: Its id under `root`, or its folder.

    Returns:
        As the `run` of its kind.

    Raises:
        RunError: There is no such run, or it is still running.
    """
    kind = RunFolder.of(run, root).state().get("kind")
    work = {"pipeline": pipeline.resume, "sweep": sweep.resume}.get(str(kind), train.resume)
    return work(run, root=root, address=address)
