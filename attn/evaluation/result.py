"""The scores of one evaluation, with its notes, and the data that it was taken on."""

from __future__ import annotations

__all__ = ["DataDescription", "Evaluation", "with_skipped"]

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any

from attn.config.base import Config
from attn.evaluation.score import Outputs, Score
from attn.wording import counted

SHOWN = 8


class DataDescription(Config):
    """The data's description in a protocol, besides the images themselves.

    Attributes:
        resize: How images become inputs, e.g. `squash 225x225`.
        masks: Name of the folder of masks, if the data has several.
        outputs: See `attn.evaluation.score.Protocol`.
    """

    source: str
    split: str
    resize: str
    masks: str | None = None
    outputs: Outputs | None = None


@dataclass(frozen=True)
class Evaluation:
    """The scores of one network on one split.

    Attributes:
        scores: Scores by name.
        classes: Class names.
        images: Number of images.
        masked: Number of images with a mask; only these count for the scores of maps.
        notes: Messages about what was not scored.
    """

    scores: dict[str, Score]
    classes: tuple[str, ...]
    images: int
    masked: int
    notes: tuple[str, ...] = field(default=())

    def metrics(self) -> dict[str, float]:
        """The values of the scores by name."""
        return {name: score.value for name, score in self.scores.items()}

    def table(self) -> list[dict[str, Any]]:
        """One row per class (background first, if it is scored) with the values of all scores."""
        of_maps = {"seed_miou", "direct_miou"} & self.scores.keys()
        names = ["background", *self.classes] if of_maps else list(self.classes)
        return [
            {"class": name, **{key: score.per_class.get(name) for key, score in self.scores.items() if score.per_class}}
            for name in names
        ]


def with_skipped(evaluation: Evaluation, skipped: Collection[str]) -> Evaluation:
    """Add a note about images that could not be read, if there are any."""
    if not skipped:
        return evaluation
    names = ", ".join(sorted(skipped)[:SHOWN]) + (", ..." if len(skipped) > SHOWN else "")
    do = "does" if len(skipped) == 1 else "do"
    note = f"{counted(len(skipped), 'image')} could not be read and {do} not count: {names}"
    return replace(evaluation, notes=(note, *evaluation.notes))
