"""Which run trained the model that a run ends with: a pipeline's last network, a sweep's best trial."""

from __future__ import annotations

__all__ = ["best_trial", "last_network", "trained_run"]

from collections.abc import Iterable, Mapping
from typing import Any

from attn.config.document import read_document
from attn.run_state import RunState
from jobs.runs.run_folder import RunFolder
from jobs.sweeps.results import Row, best_row, objective_of, read_rows
from jobs.sweeps.trial_folder import trial_folder


def trained_run(folder: RunFolder, state: RunState) -> RunFolder | None:
    """The run that trained a run's model: itself, a pipeline's stage, or a sweep's trial; None if a sweep has none.

    Raises:
        AttnError: Files of a sweep are damaged.
    """
    if (stage := last_network(folder, state)) is not None:
        return stage
    if state.kind != "sweep":
        return folder
    config = read_document(folder.read_text("sweep.yaml"), folder.path("sweep.yaml")).values
    best = best_trial(folder, config, read_rows(folder))
    return None if best is None else trained_run(best, best.state())


def last_network(folder: RunFolder, state: RunState) -> RunFolder | None:
    """The stage of a pipeline that trained its segmentation network; None for other runs, and before that stage."""
    stages = state.stages or {}
    last = stages.get("retrain") or stages.get("segment")
    return None if last is None else RunFolder(folder.root, last.run_id)


def best_trial(folder: RunFolder, config: Mapping[str, Any], rows: Iterable[Row]) -> RunFolder | None:
    """The best of a sweep's trials, which its results name, too; None if it has no model.

    Args:
        config: The sweep's, as plain values.
    """
    best = best_row(objective_of(config), rows)
    return None if best is None or best.model is None else trial_folder(folder, best.number)
