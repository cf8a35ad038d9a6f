"""A drawing surface for anti-aliased shapes in an object's own frame, with premultiplied alpha."""

from __future__ import annotations

__all__ = ["Sprite", "ellipse", "smooth"]

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np

from attn.data.scenes.palette import Colour, scale

Point = tuple[float, float]
Points = Sequence[Point] | np.ndarray

_SHIFT = 4  # fractional bits of coordinates in OpenCV's drawing functions
_TURN = np.linspace(0.0, 2.0 * np.pi, 29)[:-1]
_CIRCLE = np.stack([np.cos(_TURN), np.sin(_TURN)], axis=1)


def ellipse(x: float, y: float, rx: float, ry: float, degrees: float = 0.0) -> np.ndarray:
    """Points (28, 2) of an ellipse, rotated by `degrees` around its centre."""
    angle = np.deg2rad(degrees)
    cos, sin = np.cos(angle), np.sin(angle)
    spread = _CIRCLE * (rx, ry)
    return spread @ np.array([[cos, sin], [-sin, cos]]) + (x, y)


@lru_cache(maxsize=256)
def _spline(points: tuple[Point, ...], steps: int) -> np.ndarray:
    knots = np.asarray(points, dtype=np.float64)
    before, after, second = np.roll(knots, 1, 0), np.roll(knots, -1, 0), np.roll(knots, -2, 0)
    t = (np.arange(steps) / steps)[None, :, None]
    p0, p1, p2, p3 = (value[:, None, :] for value in (before, knots, after, second))
    curve = 0.5 * (2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * p1 - p0 - 3 * p2 + p3) * t**3)
    return curve.reshape(-1, 2)


def smooth(points: Sequence[Point], steps: int = 6) -> np.ndarray:
    """A closed Catmull-Rom curve through the points, with `steps` samples per point."""
    return _spline(tuple(points), steps)


class Sprite:
    """The surface of one object. In its frame, x points right, y down, and the object is in about [-1, 1]².

    Attributes:
        rgba: uint8 (h, w, 4), colours premultiplied by alpha.
        part: uint8 (h, w), alpha of the telling part.
        plain: The object has no telling part.
        hue: Hue of the body in [0, 1); None: any colour.
        origin: (x, y) of the surface's upper left corner, in canvas pixels.
    """

    def __init__(
        self,
        centre: Point,
        radius: float,
        *,
        degrees: float = 0.0,
        flip: bool = False,
        aspect: float = 1.0,
        plain: bool = False,
        hue: float | None = None,
    ) -> None:
        """Create a surface around `centre` (canvas pixels); `radius` is the frame's unit length in canvas pixels."""
        reach = int(np.ceil(radius * 1.45 * max(1.0, aspect))) + 2
        self.origin = (int(centre[0]) - reach, int(centre[1]) - reach)
        self.rgba = np.zeros((2 * reach, 2 * reach, 4), np.uint8)
        self.part = np.zeros((2 * reach, 2 * reach), np.uint8)
        self.radius = radius
        self.plain, self.hue = plain, hue
        angle = np.deg2rad(degrees)
        cos, sin = np.cos(angle), np.sin(angle)
        stretch = np.diag([-aspect if flip else aspect, 1.0 / aspect]) * radius
        self._matrix = stretch @ np.array([[cos, sin], [-sin, cos]])
        self._offset = np.asarray(centre, dtype=np.float64) - self.origin
        self.ink = max(1, round(radius * 0.03))

    def _pixels(self, points: Points) -> np.ndarray:
        placed = np.asarray(points, dtype=np.float64) @ self._matrix + self._offset
        return np.round(placed * (1 << _SHIFT)).astype(np.int32)

    def fill(self, points: Points, colour: Colour, *, outline: Colour | None = None, telling: bool = False) -> None:
        """Draw a filled shape, optionally with an outline; `telling` adds it to the telling part."""
        pixels = self._pixels(points)
        cv2.fillPoly(self.rgba, [pixels], (*colour, 255), cv2.LINE_AA, _SHIFT)
        if outline is not None:
            cv2.polylines(self.rgba, [pixels], True, (*outline, 255), self.ink, cv2.LINE_AA, _SHIFT)
        if telling:
            cv2.fillPoly(self.part, [pixels], 255, cv2.LINE_AA, _SHIFT)

    def body(self, points: Points, colour: Colour) -> None:
        """Draw a filled shape with a darker outline."""
        self.fill(points, colour, outline=scale(colour, 0.55))

    def stroke(self, points: Points, colour: Colour, width: float, *, closed: bool = False) -> None:
        """Draw a line through the points; `width` in the frame's units."""
        thickness = max(1, round(width * self.radius))
        cv2.polylines(self.rgba, [self._pixels(points)], closed, (*colour, 255), thickness, cv2.LINE_AA, _SHIFT)

    def light(self, rng: np.random.Generator, strength: float = 0.3) -> None:
        """Shade the object by a diagonal gradient and soft mottling."""
        height, width = self.part.shape
        side = rng.uniform(-0.6, 0.6)
        corners = np.array([[1 + side, 1 - side], [-1 + side, -1 - side]], np.float32) * strength
        mottle = rng.normal(0.0, 0.16 * strength, (14, 14)).astype(np.float32)
        coarse = 1.0 + mottle + cv2.resize(corners, (14, 14), interpolation=cv2.INTER_LINEAR)
        # 128 means a gain of 1: multiplying bytes by bytes is much faster than by floats.
        gain = np.clip(coarse * 128, 0, 255).astype(np.uint8)
        gain = cv2.resize(gain, (width, height), interpolation=cv2.INTER_CUBIC)
        alpha = self.rgba[..., 3]
        # Premultiplied colours never exceed alpha.
        limit = cv2.merge([alpha, alpha, alpha, alpha])
        keep = np.full_like(gain, 128)
        lit = cv2.multiply(self.rgba, cv2.merge([gain, gain, gain, keep]), scale=1 / 128)
        self.rgba = cv2.min(lit, limit)
