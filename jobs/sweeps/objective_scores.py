"""The scores that a sweep compares its trials by, with their protocols, in a trial's folder."""

from __future__ import annotations

__all__ = ["read_scores", "write_scores"]

import json
from collections.abc import Mapping

from attn.errors import AttnError, StorageAwayError
from attn.evaluation.score import Protocol, Score
from jobs.runs.run_folder import RunFolder

FILE = "objective.json"


def write_scores(folder: RunFolder, protocols: Mapping[str, Protocol], metrics: Mapping[str, float | None]) -> None:
    """Write the metrics of a trial that are scores with a protocol.

    Args:
        protocols: By the name of the score.
    """
    scores = [
        Score(name=name, value=value, protocol=protocol)
        for name, protocol in protocols.items()
        if (value := metrics.get(name)) is not None
    ]
    folder.write(FILE, json.dumps({"scores": [json.loads(score.to_json()) for score in scores]}))


def read_scores(folder: RunFolder) -> list[Score]:
    """The scores in a trial's folder; none of a trial that has no such file, or a damaged one.

    Raises:
        StorageAwayError: Nothing is known of the file.
    """
    try:
        scores = folder.read_json(FILE).get("scores")
        return [Score.from_json(json.dumps(one)) for one in scores] if isinstance(scores, list) else []
    except StorageAwayError:
        raise
    except AttnError:
        return []
