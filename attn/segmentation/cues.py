"""From attention maps to cues: an index map that labels some pixels and leaves the others open.

Shapes: H×W image, C classes, T thresholds of the maps, S of the background. Maps are given by class index, at the
image's size, non-negative. Labels are uint8 (H, W): 0 background, class index + 1, 255 open.
"""

from __future__ import annotations

__all__ = ["IGNORE", "CueRule", "Decision", "OaaRule", "SecRule", "cue_labels"]

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from attn.config.base import Variant

IGNORE = 255

Maps = Mapping[int, NDArray[Any]]
Labels = NDArray[np.uint8]


class Decision(NamedTuple):
    """An image's labels as a function of the background threshold.

    Attributes:
        below, above: Label of each pixel if its evidence is below the threshold, or not.
        evidence: float32 in [0, 1] for an object: saliency or, without it, the highest map.
    """

    below: Labels
    above: Labels
    evidence: NDArray[np.float32]

    def labels(self, background: float) -> Labels:
        """The labels at a background threshold."""
        return np.where(self.evidence < background, self.below, self.above)


class CueRule(Variant, tag="name"):
    """Rule that makes cues of maps and saliency.

    Attributes:
        foreground: Threshold of the class maps, as a share of their maximum.
        background: Saliency below which a pixel can be background.
        background_map: The same for images without saliency: the share of its maximum that every map must stay below.
    """

    from_minimum: ClassVar[bool] = False
    """Whether maps are stretched from their minimum, and not from 0, to their maximum."""

    foreground: float = Field(ge=0, lt=1)
    background: float = Field(ge=0, le=1)
    background_map: float = Field(ge=0, le=1)

    def threshold(self, *, has_saliency: bool) -> float:
        """The background threshold that holds for an image."""
        return self.background if has_saliency else self.background_map

    def highest(self, maps: Maps, shape: tuple[int, int]) -> NDArray[np.float32]:
        """The highest map at each pixel, (H, W) in [0, 1], as the rule holds it against `foreground`."""
        stack_NHW = self.stretched(maps, shape)[1]
        return stack_NHW.max(0) if len(stack_NHW) else np.zeros(shape, np.float32)

    def stretched(self, maps: Maps, shape: tuple[int, int]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Class indices in rising order, and their maps (N, H, W), each stretched to a maximum of 1."""
        return _stack(maps, shape, from_minimum=self.from_minimum)

    def decide(self, maps: Maps, saliency: NDArray[Any] | None, shape: tuple[int, int], foreground: float) -> Decision:
        """Apply all of the rule but the background threshold; see `cue_labels`."""
        raise TypeError(f"{type(self).__name__} does not say how it decides")


class SecRule(CueRule):
    """SEC's and GAIN's: what exceeds a share of the map's maximum is object, what is hardly salient is background.

    A pixel that both claim, or none, stays open.

    Attributes:
        overlap: Whose a pixel is that several classes claim: `smallest`, the class that claims the least area, as SEC
            stacks them; `strongest`, the class whose map is highest there; `open`, nobody's.
    """

    name: Literal["sec"] = "sec"
    foreground: float = Field(default=0.2, ge=0, lt=1)
    background: float = Field(default=0.06, ge=0, le=1)
    background_map: float = Field(default=0.1, ge=0, le=1)
    overlap: Literal["smallest", "strongest", "open"] = "smallest"

    def decide(self, maps: Maps, saliency: NDArray[Any] | None, shape: tuple[int, int], foreground: float) -> Decision:
        classes, stack_NHW = self.stretched(maps, shape)
        claims_NHW = stack_NHW > foreground
        objects = np.zeros(shape, np.uint8)
        if self.overlap == "strongest" and len(classes):
            objects = np.where(claims_NHW.any(0), (classes + 1)[stack_NHW.argmax(0)], 0).astype(np.uint8)
        elif len(classes):
            areas = claims_NHW.sum((1, 2))
            for row in np.lexsort((classes, -areas)):
                objects[claims_NHW[row]] = classes[row] + 1
        if self.overlap == "open":
            objects[claims_NHW.sum(0) > 1] = IGNORE
        nothing = objects == 0
        below = np.where(nothing, 0, IGNORE).astype(np.uint8)
        above = np.where(nothing, IGNORE, objects).astype(np.uint8)
        return Decision(below, above, _evidence(stack_NHW, saliency, shape))


class OaaRule(CueRule):
    """OAA's proxy labels: background and classes compete, and what is in conflict stays open.

    The background scores 1 - saliency, a class its map stretched from its minimum to its maximum; scores below
    `foreground` are set to 0, and the highest takes the pixel. Without saliency the background has no score.

    Attributes:
        sure: A pixel stays open where more than one score exceeds this.
        conflict_map: A pixel of the background stays open where any map exceeds this.
        least_foreground: An image whose objects take a smaller share of it is wholly open.
    """

    from_minimum: ClassVar[bool] = True

    name: Literal["oaa"] = "oaa"
    foreground: float = Field(default=0.3, ge=0, lt=1)
    background: float = Field(default=0.125, ge=0, le=1)
    background_map: float = Field(default=0.3, ge=0, le=1)
    sure: float = Field(default=0.9, ge=0, le=1)
    conflict_map: float = Field(default=0.8, ge=0, le=1)
    least_foreground: float = Field(default=0.01, ge=0, le=1)

    def decide(self, maps: Maps, saliency: NDArray[Any] | None, shape: tuple[int, int], foreground: float) -> Decision:
        classes, stack_NHW = self.stretched(maps, shape)
        background_1HW = np.zeros((1, *shape), np.float32)
        if saliency is not None:
            background_1HW = 1 - _unit(saliency)[None]
        scores_MHW = np.concatenate([background_1HW, stack_NHW])
        scores_MHW = np.where(scores_MHW < foreground, 0, scores_MHW)
        above = np.concatenate([[0], classes + 1])[scores_MHW.argmax(0)].astype(np.uint8)
        above[(scores_MHW > self.sure).sum(0) > 1] = IGNORE
        taken = (above > 0) & (above != IGNORE)
        below = above.copy()
        if taken.mean() < self.least_foreground:
            below[:] = above[:] = IGNORE
        else:
            below[(below == 0) & (stack_NHW > self.conflict_map).any(0)] = IGNORE
            above[above == 0] = IGNORE
        return Decision(below, above, _evidence(stack_NHW, saliency, shape))


def cue_labels(
    rule: CueRule, maps: Maps, saliency: NDArray[Any] | None = None, *, shape: tuple[int, int] | None = None
) -> Labels:
    """An image's cues.

    Args:
        maps: Of the image's classes, at its size; one that is zero everywhere claims nothing.
        saliency: (H, W), uint8 of 0 to 255 or floating in [0, 1].
        shape: Of the image, where there is neither a map nor saliency to take it from.

    Raises:
        ValueError: Shapes differ, or a value is NaN or out of range.
    """
    decision = rule.decide(maps, saliency, shape_of(maps, saliency, shape), rule.foreground)
    return decision.labels(rule.threshold(has_saliency=saliency is not None))


def shape_of(maps: Maps, saliency: NDArray[Any] | None, shape: tuple[int, int] | None = None) -> tuple[int, int]:
    """The one (H, W) of an image's maps and saliency.

    Raises:
        ValueError: There are several, or none.
    """
    shapes = {np.shape(values) for values in (*maps.values(), *([] if saliency is None else [saliency]))}
    shapes |= set() if shape is None else {shape}
    if len(shapes) != 1 or len(result := next(iter(shapes))) != 2:
        raise ValueError(f"maps and saliency must have one shape (H, W), got {sorted(shapes)}")
    return (result[0], result[1])


def _stack(maps: Maps, shape: tuple[int, int], *, from_minimum: bool) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    rows = []
    for index in sorted(maps):
        values = np.asarray(maps[index], np.float32)
        if values.size and not (values.min() >= 0 and np.isfinite(values.max())):  # NaN fails the comparison as well
            raise ValueError(f"the map of class {index} holds {values.min()} to {values.max()}, expected 0 or more")
        low = values.min() if from_minimum else np.float32(0)
        reach = values.max() - low
        rows.append((values - low) / reach if reach > 0 else np.zeros(shape, np.float32))
    if any(not 0 <= index < IGNORE - 1 for index in maps):
        raise ValueError(f"classes {sorted(maps)} do not fit masks of 8 bits")
    return np.array(sorted(maps), np.int64), np.stack(rows) if rows else np.zeros((0, *shape), np.float32)


def _evidence(
    stack_NHW: NDArray[np.float32], saliency: NDArray[Any] | None, shape: tuple[int, int]
) -> NDArray[np.float32]:
    if saliency is not None:
        return _unit(saliency)
    return stack_NHW.max(0) if len(stack_NHW) else np.zeros(shape, np.float32)


def _unit(saliency: NDArray[Any]) -> NDArray[np.float32]:
    values = np.asarray(saliency)
    if values.dtype == np.uint8:
        return values.astype(np.float32) / np.float32(255)
    if values.size and not (values.min() >= 0 and values.max() <= 1):
        raise ValueError(f"saliency must be uint8 or lie in [0, 1], got {values.min()} to {values.max()}")
    return values.astype(np.float32)
