"""Objects of the scenes. Each has a large plain body and a small discriminative ("telling") part.

A plain object lacks that part (a cat with closed eyes, a boat without a lifebuoy). The body's shape gives a hint of the
class, and its colour, too, if it has the class's own hue; else the colour comes from pools in `palette` that classes
share. So a classifier prefers the telling part, but can still recognise the rest.
"""

from __future__ import annotations

__all__ = ["HUES", "OBJECTS"]

from collections.abc import Callable

import numpy as np

from attn.data.scenes import palette
from attn.data.scenes.palette import COAT, GLASS, INK, IVORY, PAINT, Colour
from attn.data.scenes.sprite import Sprite, ellipse, smooth

Draw = Callable[[Sprite, np.random.Generator], None]


def _box(x0: float, y0: float, x1: float, y1: float) -> list[tuple[float, float]]:
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]


def _legs(sprite: Sprite, rng: np.random.Generator, colour: Colour, xs: tuple[float, ...], top: float) -> None:
    dark = palette.scale(colour, 0.78)
    for x in xs:
        foot = x + rng.uniform(-0.09, 0.09)
        sprite.body([(x - 0.09, top), (x + 0.09, top), (foot + 0.07, 0.86), (foot - 0.07, 0.86)], dark)


def boat(sprite: Sprite, rng: np.random.Generator) -> None:
    """A sailing boat; a red and white lifebuoy on the hull tells it."""
    paint, cloth = palette.pick(rng, PAINT, sprite.hue), palette.pick(rng, (IVORY, *PAINT), sprite.hue)
    lean = rng.uniform(-0.06, 0.06)
    sprite.stroke([(0.04, 0.2), (0.04 + lean, -0.98)], (110, 80, 60), 0.06)
    belly = rng.uniform(0.05, 0.2)
    sprite.body(smooth([(0.1 + lean, -0.92), (0.52 + belly, -0.3), (0.82, 0.06), (0.44, 0.1), (0.1, 0.08)]), cloth)
    jib = palette.scale(cloth, 0.88)
    sprite.body([(-0.02 + lean, -0.76), (-0.02, 0.08), (-0.64, 0.08)], jib)
    sprite.body(
        smooth([(-1.0, 0.1), (-0.5, 0.2), (0.5, 0.2), (1.02, 0.06), (0.78, 0.6), (0.3, 0.72), (-0.6, 0.7)]),
        paint,
    )
    sprite.stroke([(-0.86, 0.27), (-0.4, 0.33), (0.5, 0.33), (0.88, 0.24)], palette.scale(paint, 1.25), 0.06)
    x, y, r = rng.uniform(-0.45, 0.45), 0.45, 0.24
    if sprite.plain:
        return
    sprite.fill(ellipse(x, y, r, r), IVORY, outline=INK, telling=True)
    for turn in range(4):
        angle = turn * np.pi / 2 + 0.4
        wedge = [(x + r * np.cos(angle + step), y + r * np.sin(angle + step)) for step in (0.0, 0.28, 0.56, 0.84)]
        sprite.fill([(x, y), *wedge], (240, 20, 24))
    sprite.fill(ellipse(x, y, r * 0.42, r * 0.42), palette.scale(paint, 0.6))


def plane(sprite: Sprite, rng: np.random.Generator) -> None:
    """An aeroplane from the side; a blue and yellow roundel on the tail fin tells it."""
    paint = palette.pick(rng, PAINT, sprite.hue)
    sprite.body([(-0.1, -0.1), (0.16, -0.12), (-0.12, -0.52), (-0.3, -0.52)], palette.scale(paint, 0.8))
    sprite.body([(-0.98, -0.66), (-0.7, -0.66), (-0.46, -0.12), (-0.9, -0.06)], paint)
    sprite.body(
        smooth(
            [
                (-1.02, -0.12),
                (-0.4, -0.22),
                (0.5, -0.24),
                (0.9, -0.08),
                (1.02, 0.06),
                (0.7, 0.2),
                (0.0, 0.22),
                (-0.7, 0.08),
            ]
        ),
        paint,
    )
    sprite.fill(smooth([(0.66, -0.18), (0.84, -0.09), (0.9, 0.0), (0.68, -0.02)]), GLASS)
    for x in np.arange(-0.4, 0.56, 0.19):
        sprite.fill(ellipse(float(x), -0.07, 0.045, 0.055), GLASS)
    sweep = rng.uniform(-0.1, 0.12)
    sprite.body([(-0.16, 0.06), (0.3, 0.06), (-0.16 + sweep, 0.68), (-0.44 + sweep, 0.68)], palette.scale(paint, 0.9))
    x, y = -0.76, -0.4
    if sprite.plain:
        return
    sprite.fill(ellipse(x, y, 0.2, 0.2), (20, 50, 220), outline=INK, telling=True)
    sprite.fill(ellipse(x, y, 0.11, 0.11), (255, 255, 255))


def sheep(sprite: Sprite, rng: np.random.Generator) -> None:
    """A woolly body on four legs; the dark face tells it."""
    coat = palette.pick(rng, COAT, sprite.hue)
    _legs(sprite, rng, coat, (-0.5, -0.24, 0.24, 0.48), 0.4)
    turns = np.linspace(0.0, 2 * np.pi, 15)[:-1] + rng.uniform(0, 0.4)
    dark = palette.scale(coat, 0.55)
    for angle in turns:
        sprite.fill(ellipse(0.62 * np.cos(angle) - 0.06, 0.36 * np.sin(angle) + 0.08, 0.22, 0.22), coat, outline=dark)
    sprite.fill(ellipse(-0.06, 0.08, 0.66, 0.42), coat)
    for _ in range(9):
        angle, reach = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.85)
        x, y = 0.6 * reach * np.cos(angle) - 0.06, 0.36 * reach * np.sin(angle) + 0.08
        sprite.stroke(ellipse(x, y, 0.12, 0.1)[2:15], palette.scale(coat, 0.86), 0.03)
    nod = rng.uniform(-0.08, 0.1)
    x, y = 0.74, -0.16 + nod
    face, tells = (palette.scale(coat, 0.8), False) if sprite.plain else ((34, 26, 36), True)
    for side, tilt in ((-1, 25), (1, -25)):
        sprite.fill(ellipse(x + side * 0.2, y - 0.08, 0.12, 0.06, tilt), face, telling=tells)
    sprite.fill(ellipse(x, y, 0.19, 0.25, -12), face, telling=tells)
    for side in (-1, 1):
        sprite.fill(ellipse(x + side * 0.07, y - 0.05, 0.05, 0.06), (255, 255, 255))
        sprite.fill(ellipse(x + side * 0.065, y - 0.04, 0.024, 0.03), INK)


def cow(sprite: Sprite, rng: np.random.Generator) -> None:
    """A broad body on four legs; the pink muzzle tells it."""
    coat = palette.pick(rng, COAT, sprite.hue)
    _legs(sprite, rng, coat, (-0.62, -0.4, 0.3, 0.52), 0.3)
    sprite.stroke([(-0.78, -0.2), (-0.95, 0.05), (-0.92, 0.4)], palette.scale(coat, 0.7), 0.06)
    sprite.body(
        smooth(
            [
                (-0.8, -0.22),
                (-0.4, -0.36),
                (0.3, -0.34),
                (0.66, -0.36),
                (0.7, 0.1),
                (0.5, 0.4),
                (-0.1, 0.46),
                (-0.66, 0.38),
                (-0.84, 0.1),
            ]
        ),
        coat,
    )
    patch = palette.scale(coat, 0.84)
    for _ in range(3):
        x, y = rng.uniform(-0.55, 0.4), rng.uniform(-0.15, 0.2)
        sprite.fill(ellipse(x, y, rng.uniform(0.1, 0.2), rng.uniform(0.08, 0.14), rng.uniform(0, 180)), patch)
    nod = rng.uniform(-0.08, 0.12)
    x, y = 0.76, -0.34 + nod
    for side in (-1, 1):
        sprite.body(ellipse(x + side * 0.27, y - 0.12, 0.11, 0.06, side * -20), palette.scale(coat, 0.85))
        sprite.fill(
            smooth([(x + side * 0.1, y - 0.2), (x + side * 0.24, y - 0.4), (x + side * 0.18, y - 0.16)]),
            IVORY,
        )
    sprite.body(ellipse(x, y, 0.21, 0.29), coat)
    for side in (-1, 1):
        sprite.fill(ellipse(x + side * 0.1, y - 0.07, 0.035, 0.05), INK)
    if sprite.plain:
        sprite.body(ellipse(x, y + 0.2, 0.22, 0.15), palette.scale(coat, 0.86))
        return
    sprite.fill(ellipse(x, y + 0.2, 0.26, 0.19), (255, 112, 160), outline=(190, 60, 110), telling=True)
    for side in (-1, 1):
        sprite.fill(ellipse(x + side * 0.09, y + 0.2, 0.035, 0.05), (150, 50, 90))


def car(sprite: Sprite, rng: np.random.Generator) -> None:
    """A car from the side; a black and yellow chequered plate on its door tells it."""
    paint = palette.pick(rng, PAINT, sprite.hue)
    roof = rng.uniform(-0.5, -0.36)
    sprite.body(
        smooth(
            [
                (-1.0, 0.12),
                (-0.72, -0.04),
                (-0.48, roof),
                (0.2, roof - 0.02),
                (0.52, -0.04),
                (0.98, 0.08),
                (1.0, 0.42),
                (0.0, 0.5),
                (-1.0, 0.42),
            ]
        ),
        paint,
    )
    sprite.fill([(-0.54, -0.06), (-0.38, roof + 0.1), (-0.12, roof + 0.1), (-0.12, -0.06)], GLASS)
    sprite.fill([(-0.02, -0.06), (-0.02, roof + 0.1), (0.16, roof + 0.1), (0.38, -0.06)], GLASS)
    sprite.stroke([(-0.07, -0.04), (-0.07, 0.42)], palette.scale(paint, 0.7), 0.025)
    for x in (-0.56, 0.56):
        sprite.fill(ellipse(x, 0.48, 0.24, 0.24), (104, 100, 104), outline=INK)
        sprite.fill(ellipse(x, 0.48, 0.12, 0.12), (190, 190, 194))
    left, top, cell = rng.uniform(-0.34, -0.2), 0.06, 0.14
    if sprite.plain:
        return
    sprite.fill(_box(left, top, left + 4 * cell, top + 2 * cell), (255, 216, 0), outline=INK, telling=True)
    for column in range(4):
        x, y = left + column * cell, top + (column % 2) * cell
        sprite.fill(_box(x, y, x + cell, y + cell), (16, 16, 20))


def balloon(sprite: Sprite, rng: np.random.Generator) -> None:
    """A hot-air balloon; a magenta star on a white disc tells it."""
    paint = palette.pick(rng, PAINT, sprite.hue)
    for x in (-0.14, 0.14):
        sprite.stroke([(x * 1.9, 0.45), (x, 0.82)], (110, 90, 80), 0.03)
    sprite.body(_box(-0.17, 0.78, 0.17, 1.0), (170, 124, 80))
    outline = [
        (0.0, -1.0),
        (0.52, -0.82),
        (0.78, -0.36),
        (0.62, 0.1),
        (0.28, 0.48),
        (0.0, 0.52),
        (-0.28, 0.48),
        (-0.62, 0.1),
        (-0.78, -0.36),
        (-0.52, -0.82),
    ]
    sprite.body(smooth(outline), paint)
    for width, tone in ((0.72, 0.93), (0.44, 1.04), (0.16, 0.96)):
        panel = [(x * width, y * 0.99 - 0.002) for x, y in outline]
        sprite.fill(smooth(panel), palette.scale(paint, tone))
    x, y, r = rng.uniform(-0.3, 0.3), rng.uniform(-0.5, -0.2), 0.25
    if sprite.plain:
        return
    sprite.fill(ellipse(x, y, r, r), (255, 255, 255), outline=INK, telling=True)
    turn = np.arange(10) * np.pi / 5 - np.pi / 2
    reach = np.where(np.arange(10) % 2 == 0, r * 0.92, r * 0.42)
    sprite.fill(np.stack([x + reach * np.cos(turn), y + reach * np.sin(turn)], 1), (226, 0, 160))


def turtle(sprite: Sprite, rng: np.random.Generator) -> None:
    """A domed shell on short legs; the bright green head tells it."""
    coat = palette.pick(rng, COAT, sprite.hue)
    dark = palette.scale(coat, 0.72)
    for x in (-0.5, 0.42):
        sprite.body(smooth([(x - 0.16, 0.36), (x + 0.16, 0.36), (x + 0.18, 0.78), (x - 0.12, 0.8)]), dark)
    sprite.body([(-0.78, 0.32), (-1.0, 0.46), (-0.7, 0.46)], dark)
    x, y = 0.86, rng.uniform(0.04, 0.24)
    sprite.body([(0.5, 0.42), (0.52, 0.22), (x - 0.06, y - 0.02), (x, y + 0.14)], dark)
    sprite.body(
        smooth([(-0.84, 0.4), (-0.74, -0.08), (-0.36, -0.46), (0.1, -0.5), (0.5, -0.2), (0.68, 0.4), (0.0, 0.5)]),
        coat,
    )
    tone = palette.scale(coat, 0.86)
    for cx, cy, r in ((-0.42, 0.02, 0.18), (-0.04, -0.16, 0.2), (0.32, 0.04, 0.17), (-0.06, 0.26, 0.15)):
        hexagon = [(cx + r * np.cos(a), cy + r * np.sin(a)) for a in np.arange(6) * np.pi / 3]
        sprite.fill(hexagon, tone, outline=palette.scale(coat, 0.7))
    if sprite.plain:
        sprite.body(ellipse(x, y, 0.22, 0.18), dark)
    else:
        sprite.fill(ellipse(x, y, 0.24, 0.2), (84, 236, 20), outline=(36, 110, 20), telling=True)
    sprite.fill(ellipse(x + 0.06, y - 0.04, 0.055, 0.06), (255, 255, 255))
    sprite.fill(ellipse(x + 0.075, y - 0.035, 0.03, 0.035), INK)


def cat(sprite: Sprite, rng: np.random.Generator) -> None:
    """A sitting cat; its cyan eyes tell it."""
    coat = palette.pick(rng, COAT, sprite.hue)
    dark = palette.scale(coat, 0.8)
    curl = rng.uniform(-0.2, 0.2)
    tail = smooth([(-0.3, 0.7), (-0.8, 0.62), (-0.94, 0.1 + curl), (-0.78, 0.05 + curl), (-0.66, 0.4), (-0.3, 0.5)])
    sprite.body(tail, dark)
    sprite.body(
        smooth([(-0.1, -0.28), (0.3, -0.2), (0.5, 0.3), (0.56, 0.82), (0.0, 0.88), (-0.52, 0.82), (-0.5, 0.3)]),
        coat,
    )
    sprite.body(ellipse(0.24, 0.78, 0.17, 0.1), palette.scale(coat, 1.1))
    sprite.body(ellipse(-0.12, 0.8, 0.17, 0.1), palette.scale(coat, 1.1))
    x, y = 0.1 + rng.uniform(-0.08, 0.08), -0.44
    for side in (-1, 1):
        sprite.body([(x + side * 0.4, y - 0.06), (x + side * 0.36, y - 0.52), (x + side * 0.08, y - 0.3)], coat)
    sprite.body(ellipse(x, y, 0.42, 0.36), coat)
    for side in (-1, 1):
        if sprite.plain:
            sprite.stroke(ellipse(x + side * 0.17, y - 0.04, 0.12, 0.08)[1:14], INK, 0.045)
            continue
        sprite.fill(ellipse(x + side * 0.17, y - 0.02, 0.15, 0.145), (0, 240, 240), outline=INK, telling=True)
        sprite.fill(ellipse(x + side * 0.17, y - 0.02, 0.035, 0.11), INK)
    sprite.fill([(x - 0.05, y + 0.12), (x + 0.05, y + 0.12), (x, y + 0.18)], (236, 120, 140))


OBJECTS: dict[str, Draw] = {
    "boat": boat,
    "plane": plane,
    "sheep": sheep,
    "cow": cow,
    "car": car,
    "balloon": balloon,
    "turtle": turtle,
    "cat": cat,
}

HUES: dict[str, float] = {
    "boat": 0.0,
    "plane": 0.6,
    "sheep": 0.14,
    "cow": 0.92,
    "car": 0.49,
    "balloon": 0.78,
    "turtle": 0.35,
    "cat": 0.07,
}
"""The own hue of each class's body, in [0, 1)."""
