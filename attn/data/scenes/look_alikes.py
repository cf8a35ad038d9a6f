"""Families of classes with the same body, which differ only in the position and shape of a bright mark.

Colours of body and mark do not depend on the class. So a classifier that looks at the body confuses the classes of a
family.
"""

from __future__ import annotations

__all__ = ["FAMILIES", "LOOK_ALIKES"]

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from attn.data.scenes import palette
from attn.data.scenes.palette import COAT, INK, IVORY, PAINT, Colour
from attn.data.scenes.sprite import Points, Sprite, ellipse, smooth

Draw = Callable[[Sprite, np.random.Generator], None]

MARKS: tuple[Colour, ...] = ((232, 40, 36), (250, 206, 0), (20, 90, 220), (214, 0, 150))
"""Colours of the marks, for all classes."""


def _mark(sprite: Sprite, rng: np.random.Generator, points: Points) -> None:
    colour = palette.vary(rng, MARKS[int(rng.integers(len(MARKS)))], 8)
    sprite.fill(points, colour, outline=palette.scale(colour, 0.55), telling=True)


def _body_colour(rng: np.random.Generator) -> Colour:
    return palette.pick(rng, PAINT + COAT)


def bird(sprite: Sprite, rng: np.random.Generator, *, mark: str) -> None:
    """A bird from the side: a crest, a disc on the wing, or a band across the tail."""
    coat = _body_colour(rng)
    dark, pale = palette.scale(coat, 0.76), palette.scale(coat, 1.18)
    for x in (-0.06, 0.16):
        sprite.stroke([(x, 0.5), (x + rng.uniform(-0.06, 0.06), 0.92)], (120, 96, 70), 0.05)
    lift = rng.uniform(-0.12, 0.1)
    sprite.body([(-0.42, -0.02), (-0.4, 0.3), (-1.02, 0.3 + lift), (-1.06, 0.02 + lift)], dark)
    if mark == "tail":
        band = [(-0.68, 0.02 + 0.6 * lift), (-0.7, 0.29 + 0.6 * lift), (-0.96, 0.29 + lift), (-0.98, 0.03 + lift)]
        _mark(sprite, rng, band)
    sprite.body(smooth([(-0.6, 0.06), (-0.2, -0.28), (0.3, -0.36), (0.58, 0.0), (0.3, 0.46), (-0.2, 0.5)]), coat)
    sprite.fill(ellipse(0.2, 0.24, 0.28, 0.18, -14), pale)
    nod = rng.uniform(-0.06, 0.06)
    x, y = 0.52, -0.42 + nod
    if mark == "crest":
        _mark(sprite, rng, [(x - 0.3, y - 0.02), (x - 0.42, y - 0.4), (x - 0.2, y - 0.26), (x - 0.1, y - 0.54),
                            (x + 0.02, y - 0.28), (x + 0.16, y - 0.46), (x + 0.2, y - 0.1)])  # fmt: skip
    sprite.body(ellipse(x, y, 0.29, 0.27), coat)
    sprite.body([(x + 0.24, y - 0.06), (x + 0.56, y + 0.06), (x + 0.24, y + 0.13)], (214, 164, 84))
    sprite.fill(ellipse(x + 0.1, y - 0.05, 0.06, 0.065), IVORY)
    sprite.fill(ellipse(x + 0.115, y - 0.045, 0.035, 0.04), INK)
    droop = rng.uniform(-0.05, 0.1)
    sprite.body(smooth([(0.24, -0.14), (0.1, 0.2), (-0.3, 0.34 + droop), (-0.62, 0.24 + droop), (-0.2, -0.1)]), dark)
    if mark == "wing":
        _mark(sprite, rng, ellipse(-0.12, 0.1 + droop / 2, 0.19, 0.15, -20))


def fish(sprite: Sprite, rng: np.random.Generator, *, mark: str) -> None:
    """A fish from the side: a high back fin, a patch on the cheek, or an eyespot at the root of the tail."""
    coat = _body_colour(rng)
    dark, pale = palette.scale(coat, 0.78), palette.scale(coat, 1.16)
    sweep = rng.uniform(-0.08, 0.08)
    sprite.body([(-0.56, 0.0), (-1.02, -0.42 + sweep), (-0.86, 0.02 + sweep), (-1.02, 0.42 + sweep)], dark)
    if mark == "fin":
        _mark(sprite, rng, [(-0.26, -0.34), (-0.2, -0.78), (0.0, -0.56), (0.1, -0.82), (0.3, -0.38)])
    else:
        sprite.body(smooth([(-0.34, -0.32), (-0.14, -0.54), (0.16, -0.5), (0.38, -0.34)]), dark)
    sprite.body(smooth([(-0.2, 0.36), (0.1, 0.4), (-0.08, 0.62)]), dark)
    sprite.body(
        smooth([(-0.68, 0.0), (-0.36, -0.32), (0.16, -0.46), (0.66, -0.28), (0.94, 0.04), (0.6, 0.34), (0.1, 0.46),
                (-0.4, 0.3)]), coat
    )  # fmt: skip
    sprite.fill(smooth([(-0.4, 0.2), (0.1, 0.22), (0.6, 0.2), (0.2, 0.4), (-0.2, 0.36)]), pale)
    for x in np.arange(-0.3, 0.3, 0.17):
        sprite.stroke(ellipse(float(x), 0.02, 0.08, 0.16)[20:27], dark, 0.03)
    if mark == "cheek":
        _mark(sprite, rng, ellipse(0.46, 0.14, 0.17, 0.17))
    if mark == "tail":
        _mark(sprite, rng, ellipse(-0.5, 0.0, 0.19, 0.18))
    sprite.fill(ellipse(0.62, -0.1, 0.1, 0.1), IVORY, outline=INK)
    sprite.fill(ellipse(0.64, -0.09, 0.05, 0.055), INK)
    sprite.stroke([(0.92, 0.1), (0.76, 0.16)], INK, 0.035)


def beetle(sprite: Sprite, rng: np.random.Generator, *, mark: str) -> None:
    """A beetle from above: a horn on the head, a collar behind it, or a diamond on the wing cases."""
    coat = _body_colour(rng)
    dark, pale = palette.scale(coat, 0.72), palette.scale(coat, 1.16)
    for side in (-1, 1):
        for y, reach in ((-0.3, -0.2), (0.08, 0.06), (0.42, 0.32)):
            step = rng.uniform(-0.06, 0.06)
            sprite.stroke([(side * 0.4, y), (side * 0.72, y + reach * 0.6), (side * 0.86, y + reach + step)], INK, 0.06)
        sprite.stroke([(side * 0.1, -0.78), (side * 0.34, -1.0 + rng.uniform(-0.04, 0.06))], INK, 0.045)
    if mark == "horn":
        _mark(sprite, rng, [(-0.14, -0.7), (-0.09, -1.02), (0.0, -1.22), (0.09, -1.02), (0.14, -0.7)])
    sprite.body(ellipse(0.0, -0.66, 0.27, 0.2), dark)
    for side in (-1, 1):
        sprite.fill(ellipse(side * 0.17, -0.74, 0.05, 0.05), IVORY)
    sprite.body(smooth([(-0.44, -0.34), (-0.3, -0.6), (0.3, -0.6), (0.44, -0.34), (0.0, -0.26)]), coat)
    if mark == "collar":
        _mark(sprite, rng, smooth([(-0.42, -0.38), (-0.34, -0.55), (0.34, -0.55), (0.42, -0.38), (0.0, -0.32)]))
    sprite.body(smooth([(0.0, -0.36), (0.46, -0.24), (0.6, 0.24), (0.36, 0.74), (0.0, 0.88), (-0.36, 0.74),
                        (-0.6, 0.24), (-0.46, -0.24)]), coat)  # fmt: skip
    for side in (-1, 1):
        sprite.fill(ellipse(side * 0.3, 0.06, 0.1, 0.26, side * 14), pale)
    sprite.stroke([(0.0, -0.34), (0.0, 0.86)], dark, 0.045)
    if mark == "wings":
        _mark(sprite, rng, [(0.0, 0.02), (0.2, 0.26), (0.0, 0.5), (-0.2, 0.26)])


FAMILIES: dict[str, tuple[str, ...]] = {
    "bird": ("crest", "wing", "tail"),
    "fish": ("fin", "cheek", "tail"),
    "beetle": ("horn", "collar", "wings"),
}
"""Positions of the mark in each family; a class is named `<family>_<position>`."""

_BODIES: Mapping[str, Callable[..., None]] = {"bird": bird, "fish": fish, "beetle": beetle}

LOOK_ALIKES: dict[str, Draw] = {
    f"{family}_{mark}": partial(_BODIES[family], mark=mark) for family, marks in FAMILIES.items() for mark in marks
}
