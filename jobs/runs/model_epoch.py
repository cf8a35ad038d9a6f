"""Which epoch a run's model and metrics are of, and whether the run ended early, in words for people."""

from __future__ import annotations

__all__ = ["early_end", "metrics_epoch", "model_epoch"]

from typing import Any

from attn.display import figure
from attn.run_state import RunState


def model_epoch(best: dict[str, Any] | None, called: str = ", the best") -> str | None:
    """The best epoch that a run has noted, and its score; None if it has noted none."""
    best = best or {}
    metric, epoch, value = best.get("metric"), best.get("epoch"), best.get("value")
    if not isinstance(metric, str) or not isinstance(epoch, int) or not isinstance(value, int | float):
        return None
    return f"epoch {epoch}{called}: {metric} {figure(metric, value)}"


def early_end(stopped: dict[str, Any] | None) -> str | None:
    """After which epoch early stopping ended a run, and why; None if it has not ended early."""
    stopped = stopped or {}
    epoch, metric, best = stopped.get("epoch"), stopped.get("metric"), stopped.get("best_epoch")
    if not isinstance(epoch, int):
        return None
    since = f": {metric} had not improved since epoch {best}" if isinstance(best, int) and best else ""
    return f"after epoch {epoch}{since}"


def metrics_epoch(state: RunState) -> str:
    """The epoch that a run's `metrics` are of; those of the model if the run is done."""
    best = model_epoch(state.best) if state.state == "done" else None
    if best is not None:
        return best.partition(":")[0]
    return "the last epoch" if state.epoch is None else f"epoch {state.epoch}, the last"
