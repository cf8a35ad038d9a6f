"""Draws a scene's context and the classes of its objects, depending on the split."""

from __future__ import annotations

__all__ = ["CLASSES", "CONTEXTS", "HOME", "HOMES", "SPLITS", "Cast", "draw_cast"]

from dataclasses import dataclass

import numpy as np

from attn.data.scenes.backgrounds import BACKGROUNDS
from attn.data.scenes.look_alikes import LOOK_ALIKES
from attn.data.scenes.objects import OBJECTS

CLASSES: tuple[str, ...] = tuple(OBJECTS)
SPLITS = ("train", "val", "test", "object_without_context", "context_without_object")
CONTEXTS: tuple[str, ...] = tuple(BACKGROUNDS)

HOME: dict[str, str] = {"boat": "water", "plane": "sky", "sheep": "meadow", "cow": "meadow"}
"""The home of a class, its usual context in biased splits; other classes have none."""

HOMES: dict[str, str] = HOME | {name: CONTEXTS[index % len(CONTEXTS)] for index, name in enumerate(LOOK_ALIKES)}
"""The same, and the homes of look-alikes: those of a family differ."""

EMPTY_SHARE = 0.35
"""Fraction of the scenes of `context_without_object` without any object."""


@dataclass(frozen=True)
class Cast:
    """A scene's context and the classes of its objects, the main one first."""

    context: str
    classes: tuple[str, ...]


def _choose(rng: np.random.Generator, names: tuple[str, ...]) -> str:
    return names[int(rng.integers(len(names)))]


def _fill(rng: np.random.Generator, first: tuple[str, ...], pool: tuple[str, ...], count: int) -> tuple[str, ...]:
    return first + tuple(_choose(rng, pool) for _ in range(count - len(first)) if pool)


def draw_cast(
    split: str,
    rng: np.random.Generator,
    *,
    classes: tuple[str, ...],
    context_bias: float,
    objects: tuple[int, int],
) -> Cast:
    """Draw context and classes.

    train, val: with probability `context_bias` the main class is in its home (a class without a home, in a context that
        is no class's home, if there is one), with other classes that may be there; else as in test.
    test: classes and context are independent.
    object_without_context: the main class has a home, but no object of the scene is in its home.
    context_without_object: the context is the home of a class that is absent; some scenes are empty.

    Args:
        split: One of SPLITS.
        rng: Generator of this scene.
        classes: Classes to draw from.
        context_bias: 0 (independent) to 1 (a boat if and only if there is water).
        objects: Minimum and maximum number of objects.
    """
    count = int(rng.integers(objects[0], objects[1] + 1))
    at_home = {name: HOMES[name] for name in classes if name in HOMES}
    homes = tuple(context for context in CONTEXTS if context in at_home.values())
    if split == "object_without_context":
        main = _choose(rng, tuple(at_home))
        context = _choose(rng, tuple(name for name in CONTEXTS if name != at_home[main]))
        return Cast(context, _fill(rng, (main,), _strangers(classes, context), count))
    if split == "context_without_object":
        context = _choose(rng, homes)
        empty = rng.random() < EMPTY_SHARE
        return Cast(context, () if empty else _fill(rng, (), _strangers(classes, context), count))
    main = _choose(rng, classes)
    if split == "test" or rng.random() >= context_bias:
        return Cast(_choose(rng, CONTEXTS), _fill(rng, (main,), classes, count))
    free = tuple(name for name in CONTEXTS if name not in homes)
    context = at_home[main] if main in at_home else _choose(rng, free or CONTEXTS)
    residents = tuple(name for name in classes if at_home.get(name, context) == context)
    return Cast(context, _fill(rng, (main,), residents, count))


def _strangers(classes: tuple[str, ...], context: str) -> tuple[str, ...]:
    return tuple(name for name in classes if HOMES.get(name) != context)
