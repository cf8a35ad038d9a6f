"""Backgrounds of the scenes. Each is a context that some classes may prefer."""

from __future__ import annotations

__all__ = ["BACKGROUNDS", "Stage"]

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from attn.data.scenes.palette import Colour, scale, vary


@dataclass(frozen=True)
class Stage:
    """A painted background, and where objects stand on it."""

    canvas: np.ndarray  # uint8 (S, S, 3); objects are drawn onto it
    ground: tuple[float, float]  # vertical position of the farthest and the nearest object's feet, as fractions of S
    shadow: float  # how much an object darkens the ground below it, 0..1


Paint = Callable[[np.random.Generator, int], Stage]


def gradient(size: int, *stops: Colour) -> np.ndarray:
    """uint8 (size, size, 3): a vertical gradient through evenly spaced colours."""
    column = np.asarray(stops, np.uint8)[:, None, :]
    row = cv2.resize(column, (1, size), interpolation=cv2.INTER_LINEAR)
    return np.repeat(row, size, axis=1)


def mottle(rng: np.random.Generator, canvas: np.ndarray, cells: tuple[int, int], amount: float) -> None:
    """Add smooth noise of `cells` (columns, rows) to the canvas's brightness, in place."""
    height, width = canvas.shape[:2]
    noise = rng.normal(0.0, amount, (cells[1], cells[0])).astype(np.float32)
    wide = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    cv2.add(canvas, cv2.merge([wide] * 3), dst=canvas, dtype=cv2.CV_8U)


def _ridge(rng: np.random.Generator, canvas: np.ndarray, level: float, swing: float, colour: Colour) -> None:
    """Draw hills down to the bottom edge, with their crest at about `level`."""
    size = canvas.shape[0]
    x = np.linspace(0.0, size, 24)
    waves = sum(
        rng.uniform(0.4, 1.0) / (k + 1) * np.sin(x / size * np.pi * (k + 1) * 1.7 + rng.uniform(0, 6.3))
        for k in range(3)
    )
    crest = (level + swing * waves) * size
    outline = np.concatenate([np.stack([x, crest], 1), [[size, size], [0, size]]])
    cv2.fillPoly(canvas, [np.round(outline * 16).astype(np.int32)], colour, cv2.LINE_AA, 4)


def _strokes(
    rng: np.random.Generator,
    canvas: np.ndarray,
    count: int,
    top: float,
    length: tuple[float, float],
    rise: float,
    colours: tuple[Colour, ...],
) -> None:
    """Draw short strokes below `top`, longer and sparser towards the viewer; `rise` is height over length."""
    size = canvas.shape[0]
    depth = rng.random(count) ** 0.8
    y = (top + (0.99 - top) * depth) * size
    x = rng.random(count) * size
    reach = (length[0] + (length[1] - length[0]) * depth) * size * rng.uniform(0.6, 1.3, count)
    slant = reach * rise * rng.uniform(0.7, 1.2, count)
    lean = reach * rng.uniform(-0.3, 0.3, count) if rise > 1 else reach
    ends = np.stack([x, y, x + (lean if rise <= 1 else lean / rise), y - slant], 1)
    ends = np.round(ends * 16).astype(np.int32).reshape(count, 2, 2)
    which = np.arange(count) * len(colours) // count
    width = max(1, size // 128)
    for index, colour in enumerate(colours):
        cv2.polylines(canvas, list(ends[which == index]), False, colour, width, cv2.LINE_AA, 4)


def _clouds(rng: np.random.Generator, canvas: np.ndarray, count: int, span: tuple[float, float], big: float) -> None:
    size = canvas.shape[0]
    cover = np.zeros((size // 2, size // 2), np.uint8)
    for _ in range(count):
        x, y = rng.uniform(0, 1), rng.uniform(*span)
        width = rng.uniform(0.6, 1.2) * big
        for _ in range(6):
            cx, cy = x + rng.uniform(-1, 1) * width, y + rng.uniform(-0.22, 0.1) * width
            axes = (rng.uniform(0.3, 0.6) * width, rng.uniform(0.16, 0.32) * width)
            centre = (int(cx * size / 2), int(cy * size / 2))
            cv2.ellipse(cover, centre, (int(axes[0] * size / 2), int(axes[1] * size / 2)), 0, 0, 360, 235, -1)
    blur = max(3, size // 24) | 1
    cover = cv2.resize(cv2.GaussianBlur(cover, (blur, blur), 0), (size, size), interpolation=cv2.INTER_LINEAR)
    weight = cv2.merge([cover] * 3)
    white = cv2.merge([cover, cv2.convertScaleAbs(cover, alpha=0.988), cv2.convertScaleAbs(cover, alpha=0.973)])
    faded = cv2.multiply(canvas, 255 - weight, scale=1 / 255.0)
    cv2.add(white, faded, dst=canvas)


def _sky_gradient(rng: np.random.Generator, size: int) -> np.ndarray:
    """One of three times of day."""
    skies = (
        ((132, 176, 210), (186, 212, 226), (216, 230, 234)),
        ((150, 162, 194), (226, 200, 188), (240, 216, 190)),
        ((142, 164, 186), (186, 200, 212), (210, 218, 222)),
    )
    stops = skies[int(rng.integers(len(skies)))]
    return gradient(size, *(vary(rng, stop, 8) for stop in stops))


def water(rng: np.random.Generator, size: int) -> Stage:
    """A sea with waves and glitter under a sky."""
    canvas = _sky_gradient(rng, size)
    horizon = rng.uniform(0.16, 0.36)
    _clouds(rng, canvas, 2, (0.02, horizon * 0.7), 0.16)
    top = round(horizon * size)
    deep = vary(rng, ((58, 100, 132), (56, 114, 126), (72, 106, 142))[int(rng.integers(3))], 8)
    sea = canvas[top:]
    sea[:] = cv2.resize(gradient(size, scale(deep, 1.5), scale(deep, 1.05), scale(deep, 0.8)), (size, size - top))
    mottle(rng, sea, (5, 22), 9)
    _strokes(
        rng,
        canvas,
        110,
        horizon + 0.01,
        (0.02, 0.12),
        0.0,
        (scale(deep, 0.72), scale(deep, 1.55), scale(deep, 1.35), (206, 232, 240)),
    )
    return Stage(canvas, (horizon + 0.14, 0.97), 0.35)


def sky(rng: np.random.Generator, size: int) -> Stage:
    """Open sky with clouds; objects float."""
    canvas = _sky_gradient(rng, size)
    if rng.random() < 0.4:
        centre = (int(rng.uniform(0.1, 0.9) * size), int(rng.uniform(0.05, 0.3) * size))
        cv2.circle(canvas, centre, int(size * rng.uniform(0.05, 0.08)), (255, 240, 196), -1, cv2.LINE_AA)
    _clouds(rng, canvas, int(rng.integers(3, 6)), (0.05, 1.0), 0.22)
    return Stage(canvas, (0.4, 0.95), 0.0)


def meadow(rng: np.random.Generator, size: int) -> Stage:
    """Grass with flowers before hills."""
    canvas = _sky_gradient(rng, size)
    horizon = rng.uniform(0.18, 0.36)
    green = vary(rng, ((122, 152, 92), (138, 158, 94), (108, 144, 98))[int(rng.integers(3))], 8)
    _clouds(rng, canvas, 2, (0.02, horizon * 0.6), 0.14)
    _ridge(rng, canvas, horizon - 0.05, 0.04, scale(vary(rng, (120, 166, 140), 6), 1.05))
    _ridge(rng, canvas, horizon + 0.02, 0.03, scale(green, 1.12))
    field = canvas[round((horizon + 0.06) * size) :]
    mottle(rng, field, (9, 9), 9)
    _strokes(
        rng,
        canvas,
        170,
        horizon + 0.06,
        (0.02, 0.06),
        3.0,
        (scale(green, 0.72), scale(green, 0.86), scale(green, 1.22)),
    )
    petals: tuple[Colour, ...] = ((255, 250, 236), (240, 222, 160), (226, 178, 170), (196, 182, 214))
    for _ in range(int(rng.integers(4, 16))):
        y = rng.uniform(horizon + 0.12, 1.0)
        centre = (int(rng.random() * size), int(y * size))
        cv2.circle(canvas, centre, max(1, int(size * 0.011 * y)), petals[int(rng.integers(4))], -1, cv2.LINE_AA)
    return Stage(canvas, (horizon + 0.16, 0.97), 0.4)


def street(rng: np.random.Generator, size: int) -> Stage:
    """Houses along an asphalt road."""
    canvas = _sky_gradient(rng, size)
    horizon = rng.uniform(0.24, 0.38)
    x = -0.05
    while x < 1.0:
        width, height = rng.uniform(0.14, 0.24), rng.uniform(0.14, 0.3)
        walls: tuple[Colour, ...] = ((206, 178, 156), (182, 150, 140), (172, 178, 184), (214, 200, 170))
        wall = vary(rng, walls[int(rng.integers(4))], 8)
        x0, x1, y0, y1 = (round(v * size) for v in (x, x + width, horizon - height, horizon))
        cv2.rectangle(canvas, (x0, y0), (x1, y1), wall, -1)
        cv2.rectangle(canvas, (x0, y0), (x1, y0 + size // 48), scale(wall, 0.62), -1)
        pane, step = max(2, size // 34), max(5, size // 15)
        glow = (250, 226, 160) if rng.random() < 0.4 else (110, 124, 142)
        for wy in range(y0 + size // 24, y1 - pane, step):
            for wx in range(x0 + size // 40, x1 - pane, step):
                cv2.rectangle(canvas, (wx, wy), (wx + pane, wy + pane + pane // 3), glow, -1)
        x += width
    top = round(horizon * size)
    tone = vary(rng, (124, 122, 126), 10)
    road = canvas[top:]
    road[:] = cv2.resize(gradient(size, scale(tone, 1.12), scale(tone, 0.86)), (size, size - top))
    mottle(rng, road, (60, 60), 6)
    kerb = top + size // 16
    cv2.rectangle(canvas, (0, top), (size, kerb), vary(rng, (186, 180, 172), 6), -1)
    cv2.line(canvas, (0, kerb), (size, kerb), scale(tone, 0.7), max(1, size // 96), cv2.LINE_AA)
    lane, offset = rng.uniform(0.66, 0.8), rng.uniform(0, 0.24)
    for start in np.arange(-0.24, 1.1, 0.24):
        x0, y0 = (start + offset) * size, lane * size
        dash = np.array(
            [
                [x0, y0],
                [x0 + 0.13 * size, y0],
                [x0 + 0.12 * size, y0 + 0.022 * size],
                [x0 - 0.01 * size, y0 + 0.022 * size],
            ]
        )
        cv2.fillPoly(canvas, [np.round(dash * 16).astype(np.int32)], (226, 222, 206), cv2.LINE_AA, 4)
    return Stage(canvas, (horizon + 0.16, 0.97), 0.45)


def sand(rng: np.random.Generator, size: int) -> Stage:
    """Dunes with ripples."""
    canvas = _sky_gradient(rng, size)
    horizon = rng.uniform(0.2, 0.36)
    tone = vary(rng, (226, 190, 136), 8)
    _ridge(rng, canvas, horizon, 0.05, scale(tone, 0.86))
    _ridge(rng, canvas, horizon + 0.08, 0.04, tone)
    _ridge(rng, canvas, horizon + 0.34, 0.06, scale(tone, 1.08))
    mottle(rng, canvas[round((horizon + 0.1) * size) :], (7, 26), 5)
    _strokes(rng, canvas, 60, horizon + 0.14, (0.03, 0.12), 0.12, (scale(tone, 0.88), scale(tone, 1.16)))
    for _ in range(int(rng.integers(3, 9))):
        y = rng.uniform(horizon + 0.14, 1.0)
        axes = (max(1, int(size * 0.014 * y)), max(1, int(size * 0.009 * y)))
        cv2.ellipse(
            canvas,
            (int(rng.random() * size), int(y * size)),
            axes,
            0,
            0,
            360,
            (150, 126, 104),
            -1,
            cv2.LINE_AA,
        )
    return Stage(canvas, (horizon + 0.18, 0.97), 0.4)


def snow(rng: np.random.Generator, size: int) -> Stage:
    """Snow with firs, and flakes in the air."""
    canvas = _sky_gradient(rng, size)
    horizon = rng.uniform(0.22, 0.38)
    tone = vary(rng, (232, 238, 246), 5)
    _ridge(rng, canvas, horizon - 0.06, 0.06, (176, 194, 214))
    _ridge(rng, canvas, horizon, 0.02, scale(tone, 0.95))
    for _ in range(int(rng.integers(2, 7))):
        x, foot, tall = rng.random(), horizon + rng.uniform(0.02, 0.1), rng.uniform(0.12, 0.24)
        fir = vary(rng, (58, 96, 84), 8)
        for tier in range(3):
            y = foot - tall * tier / 3.4
            half = 0.24 * tall * (1 - tier * 0.22)
            tree = np.array([[x - half, y], [x + half, y], [x, y - tall * 0.42]]) * size
            cv2.fillPoly(canvas, [np.round(tree * 16).astype(np.int32)], scale(fir, 1 + tier * 0.14), cv2.LINE_AA, 4)
    _ridge(rng, canvas, horizon + 0.14, 0.02, tone)
    _ridge(rng, canvas, horizon + 0.4, 0.05, scale(tone, 1.04))
    mottle(rng, canvas[round((horizon + 0.12) * size) :], (7, 9), 5)
    for _ in range(26):
        centre = (int(rng.random() * size), int(rng.random() * size))
        cv2.circle(canvas, centre, max(1, int(size * rng.uniform(0.004, 0.009))), (255, 255, 255), -1, cv2.LINE_AA)
    return Stage(canvas, (horizon + 0.18, 0.97), 0.25)


BACKGROUNDS: dict[str, Paint] = {
    "water": water,
    "sky": sky,
    "meadow": meadow,
    "street": street,
    "sand": sand,
    "snow": snow,
}
