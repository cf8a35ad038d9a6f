"""Scores that evaluations under a root have taken of a run's model."""

from __future__ import annotations

__all__ = ["RecordedScore", "recorded_scores", "writes_scores"]

import json
from dataclasses import dataclass

from attn.errors import AttnError, RunError, StorageAwayError
from attn.evaluation.score import Score
from attn.run_state import RunState
from attn.runs.table import KINDS
from jobs.runs.listing import list_runs
from jobs.runs.run_folder import RunFolder


@dataclass(frozen=True)
class RecordedScore:
    """A score, and the run that took it."""

    run: str
    score: Score


def recorded_scores(folder: RunFolder, state: RunState, weights: str | None) -> list[RecordedScore]:
    """Of the run itself where it is an evaluation, else of all evaluations beside it that scored its model.

    Args:
        weights: SHA-256 of the model's weights, where it is known.

    Returns:
        The newest last.

    Raises:
        RunError: A file of scores is damaged.
    """
    if writes_scores(state):
        return _read(folder)
    names = {folder.run_id, folder.uri, folder.path("model")}
    results: list[RecordedScore] = []
    for other in reversed(list_runs(folder.root)):
        if not writes_scores(other) or other.state != "done":
            continue
        same_weights = weights is not None and other.weights == weights
        if same_weights or (other.weights is None and other.model in names):
            results += _read(RunFolder(folder.root, other.id))
    return results


def writes_scores(state: RunState) -> bool:
    """Whether a run is an evaluation, whose scores have protocols."""
    return state.kind in KINDS and KINDS[state.kind].writes_scores


def _read(folder: RunFolder) -> list[RecordedScore]:
    if not folder.exists("scores.json"):
        return []
    try:
        scores = folder.read_json("scores.json")["scores"]
        return [RecordedScore(folder.run_id, Score.from_json(json.dumps(one))) for one in scores.values()]
    except StorageAwayError:
        raise
    except (AttnError, KeyError, AttributeError) as error:
        raise RunError(f"{folder.path('scores.json')} is damaged: {error}") from None
