"""Train a segmentation network, in one round or two."""

from __future__ import annotations

__all__ = ["resume", "run"]

from typing import Any

from attn.runs.kinds import read_config
from attn.segmentation.config import SegmentConfig
from jobs import train
from jobs.retrain import retrain
from jobs.runs.run_folder import RunFolder


def run(config: SegmentConfig, *, run_id: str | None = None, address: str | None = None) -> dict[str, Any]:
    """Train by a config; with `retrain` a second time, as a run beside the first, `<run id>-retrain`.

    Returns:
        As `jobs.train.run`, of the last round; with a second round `first_round`, the result of the first.
    """
    if config.retrain is not None and run_id is not None:
        RunFolder(config.root, f"{run_id}-retrain")  # a name that is too long shows before the first round
    return _again(config, train.run(config, run_id=run_id, address=address), address)


def resume(run: str, *, root: str = "runs", address: str | None = None) -> dict[str, Any]:
    """Continue a run, in whichever round it stopped.

    Args:
        run: The first round's id under `root`, or its folder.

    Returns:
        As `run`.
    """
    first = train.resume(run, root=root, address=address)
    folder = RunFolder.of(run, root)
    config = read_config(folder.read_text("config.yaml"), folder.path("config.yaml"), [f"root={folder.root}"])
    assert isinstance(config, SegmentConfig), "told by the run's state"
    return _again(config, first, address)


def _again(config: SegmentConfig, first: dict[str, Any], address: str | None) -> dict[str, Any]:
    if config.retrain is None:
        return first
    second = RunFolder(config.root, f"{first['run_id']}-retrain")
    return retrain(config, str(first["model"]), second, address) | {"first_round": first}
