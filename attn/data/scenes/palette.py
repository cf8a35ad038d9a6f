"""Colours of the generated scenes, RGB 0..255, and of masks and legends."""

from __future__ import annotations

__all__ = ["COAT", "GLASS", "INK", "IVORY", "PAINT", "Colour", "class_palette", "pick", "scale", "vary"]

import colorsys

import numpy as np

Colour = tuple[int, int, int]

# Pools that several classes share, for bodies without their class's own hue.
PAINT: tuple[Colour, ...] = (
    (190, 128, 112),
    (120, 146, 172),
    (128, 164, 156),
    (208, 172, 128),
    (226, 218, 202),
    (152, 164, 130),
    (164, 144, 168),
)
COAT: tuple[Colour, ...] = (
    (240, 230, 212),
    (206, 168, 122),
    (164, 126, 98),
    (176, 174, 172),
    (140, 132, 128),
    (224, 194, 150),
)
INK: Colour = (52, 46, 56)
GLASS: Colour = (168, 192, 202)
IVORY: Colour = (250, 244, 226)


def vary(rng: np.random.Generator, colour: Colour, amount: float = 12.0) -> Colour:
    """Add a little noise to a colour, common to all channels (brightness) and per channel."""
    shift = rng.normal(0.0, amount) + rng.normal(0.0, amount * 0.5, 3)
    red, green, blue = (int(value) for value in np.clip(np.asarray(colour) + shift, 0, 255))
    return red, green, blue


def pick(rng: np.random.Generator, pool: tuple[Colour, ...], hue: float | None = None) -> Colour:
    """A varied colour from the pool or, if `hue` in [0, 1) is given, a soft colour of about that hue."""
    colour = vary(rng, pool[int(rng.integers(len(pool)))])
    if hue is None:
        return colour
    turned, soft, bright = (hue + rng.normal(0.0, 0.02)) % 1.0, 0.3 * rng.uniform(0.8, 1.2), rng.uniform(0.55, 0.95)
    red, green, blue = (round(255 * value) for value in colorsys.hsv_to_rgb(turned, soft, bright))
    return red, green, blue


def scale(colour: Colour, factor: float) -> Colour:
    """Multiply a colour by a factor and clip it."""
    red, green, blue = (int(min(255.0, max(0.0, value * factor))) for value in colour)
    return red, green, blue


def class_palette(count: int) -> np.ndarray:
    """Colours for index masks.

    Args:
        count: The number of classes without background.

    Returns:
        uint8 (count + 1, 3): row 0 is black (background); the others have distinct hues.
    """
    # Golden-ratio steps give neighbours distinct hues for any count.
    rows = [
        colorsys.hsv_to_rgb((0.02 + index * 0.618034) % 1.0, 0.62 + 0.2 * (index % 2), 0.95) for index in range(count)
    ]
    rows.insert(0, (0.0, 0.0, 0.0))
    return np.round(np.asarray(rows) * 255).astype(np.uint8)
