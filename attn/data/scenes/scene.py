"""Renders a scene: background, objects from far to near, and the exact annotations of what is visible."""

from __future__ import annotations

__all__ = ["Scene", "render"]

from dataclasses import dataclass

import cv2
import numpy as np

from attn.data.scenes.backgrounds import BACKGROUNDS, Stage
from attn.data.scenes.look_alikes import LOOK_ALIKES
from attn.data.scenes.objects import HUES, OBJECTS
from attn.data.scenes.splits import CLASSES, HOMES, SPLITS, Cast, draw_cast
from attn.data.scenes.sprite import Sprite

DRAWN = OBJECTS | LOOK_ALIKES
SUPERSAMPLING = 2
MIN_VISIBLE = 0.35
"""An object is left out of the scene if less than this fraction of its area is visible."""

MIN_MARK = 0.7
"""A look-alike is left out if less than this fraction of its mark is visible: its class could not be recognised."""

REACH = 1.25
"""Half the side of a look-alike including its mark, in radii."""

_TRIES = 8

Box = tuple[int, int, int, int]
"""(left, top, right, bottom) in pixels, half-open."""


@dataclass(frozen=True)
class Scene:
    """One rendered scene with its annotations."""

    image_id: str  # stable: split and index
    image: np.ndarray  # uint8 (H, W, 3) RGB
    labels: tuple[str, ...]  # visible classes, sorted by class index
    mask: np.ndarray  # uint8 (H, W): 0 background, class index + 1
    boxes: dict[str, list[Box]]  # by class, of each object's visible part
    part_mask: np.ndarray  # uint8 (H, W): telling parts, like `mask`
    part_boxes: dict[str, list[Box]]  # by class, of each object's visible telling part
    saliency: np.ndarray  # uint8 (H, W): 255 inside objects, 0 elsewhere
    context: str  # name of the background


class _Truth:
    """A mask, and by class the boxes of its pieces."""

    def __init__(self, size: int) -> None:
        self.mask = np.zeros((size, size), np.uint8)
        self.boxes: dict[str, list[Box]] = {}

    def add(self, name: str, pixels: np.ndarray, classes: tuple[str, ...]) -> None:
        """Add the pixels of an object of the class, with a box around them, if there are any."""
        rows, columns = np.flatnonzero(pixels.any(1)), np.flatnonzero(pixels.any(0))
        if rows.size:
            self.mask[pixels] = classes.index(name) + 1
            box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
            self.boxes.setdefault(name, []).append(box)

    def ordered(self, classes: tuple[str, ...]) -> _Truth:
        """This truth, with its boxes in the order of the classes."""
        self.boxes = {name: self.boxes[name] for name in classes if name in self.boxes}
        return self


@dataclass(frozen=True)
class _Placed:
    name: str
    sprite: Sprite
    foot: float
    cover: np.ndarray  # float32 (size, size): fraction of each pixel that the object covers
    centre: float


def render(
    split: str,
    index: int,
    *,
    seed: int = 0,
    size: int = 96,
    context_bias: float = 0.7,
    objects: int | tuple[int, int] = (1, 2),
    classes: tuple[str, ...] = CLASSES,
    plain_share: float = 0.1,
    own_hue: float = 1.0,
) -> Scene:
    """Render one scene; the same arguments give the same bytes in every process.

    Args:
        split: One of SPLITS; see `splits.draw_cast`.
        index: Number of the scene in its split, from 0.
        seed: Seed of the whole data set.
        size: Side of the square image in pixels.
        context_bias: 0 (contexts independent of classes) to 1 (a boat if and only if there is water).
        objects: Number of objects, or its minimum and maximum; objects that would be hidden are left out.
        classes: Classes to draw from, possibly look-alikes; mask values follow this order.
        plain_share: Fraction of objects without their telling part, so that a classifier must learn bodies, too.
        own_hue: Fraction of objects with a body in the hue of their class.

    Raises:
        ValueError: An argument is out of range.
    """
    span = _check(split, index, size, context_bias, objects, classes, plain_share, own_hue)
    rng = np.random.default_rng([seed, SPLITS.index(split), index])
    cast = draw_cast(split, rng, classes=classes, context_bias=context_bias, objects=span)
    stage = BACKGROUNDS[cast.context](rng, size * SUPERSAMPLING)
    placed = _place(rng, cast, stage, size, plain_share, own_hue)
    for item in placed:
        _lay(stage, item)
    image = cv2.resize(stage.canvas, (size, size), interpolation=cv2.INTER_AREA)
    whole, parts = _truth(placed, classes, size)
    return Scene(
        image_id=f"{split}-{index:06d}",
        image=_expose(rng, image),
        labels=tuple(name for name in classes if name in whole.boxes),
        mask=whole.mask,
        boxes=whole.boxes,
        part_mask=parts.mask,
        part_boxes=parts.boxes,
        saliency=np.where(whole.mask > 0, 255, 0).astype(np.uint8),
        context=cast.context,
    )


def _check(
    split: str,
    index: int,
    size: int,
    context_bias: float,
    objects: int | tuple[int, int],
    classes: tuple[str, ...],
    plain_share: float,
    own_hue: float,
) -> tuple[int, int]:
    if split not in SPLITS:
        raise ValueError(f"split is {split!r}; it must be one of {', '.join(SPLITS)}")
    if index < 0:
        raise ValueError(f"index is {index}; it must be 0 or more")
    if size < 32:
        raise ValueError(f"size is {size}; a scene needs at least 32 pixels")
    if not 0.0 <= context_bias <= 1.0:
        raise ValueError(f"context_bias is {context_bias}; it must lie between 0 and 1")
    for what, share in (("plain_share", plain_share), ("own_hue", own_hue)):
        if not 0.0 <= share <= 1.0:
            raise ValueError(f"{what} is {share}; it must lie between 0 and 1")
    unknown = [name for name in classes if name not in DRAWN]
    if unknown or not classes or len(set(classes)) != len(classes):
        raise ValueError(f"classes are {classes}; name some of {', '.join(DRAWN)}, each once")
    if split in SPLITS[3:] and not any(name in HOMES for name in classes):
        raise ValueError(f"split {split} needs a class that has a context: one of {', '.join(HOMES)}")
    low, high = (objects, objects) if isinstance(objects, int) else objects
    if not 1 <= low <= high:
        raise ValueError(f"objects is {objects}; give a number from 1 on, or a pair (least, greatest)")
    return low, high


def _place(
    rng: np.random.Generator, cast: Cast, stage: Stage, size: int, plain_share: float, own_hue: float
) -> list[_Placed]:
    """Draw objects such that enough of each stays visible, sorted from far to near; always keep the main one."""
    placed: list[_Placed] = []
    for name in cast.classes:
        for _ in range(_TRIES):
            item = _draw(rng, name, stage, size, len(cast.classes), plain_share, own_hue)
            candidate = sorted([*placed, item], key=lambda other: other.foot)
            if all(share >= MIN_VISIBLE for share in _visible_shares(candidate)) and _marks_show(candidate):
                placed = candidate
                break
    return placed


def _draw(
    rng: np.random.Generator, name: str, stage: Stage, size: int, crowd: int, plain_share: float, own_hue: float
) -> _Placed:
    canvas = stage.canvas.shape[0]
    far, near = stage.ground
    depth = rng.random()
    radius = rng.uniform(0.8, 1.25) * (0.26 + 0.07 * depth) * (1.3, 1.1, 0.92)[min(crowd, 3) - 1] * canvas
    foot = (far + (near - far) * depth) * canvas
    edge = 0.17
    if name in LOOK_ALIKES:
        # Keep the mark inside of the image: without it the class could not be recognised.
        radius = min(radius, 0.4 * canvas / REACH)
        edge = REACH * radius / canvas
    centre = (rng.uniform(edge, 1 - edge) * canvas, max(foot - 0.8 * radius, 0.9 * radius))
    if name in LOOK_ALIKES:
        centre = (centre[0], min(max(centre[1], edge * canvas), (1 - edge) * canvas))
    sprite = Sprite(
        centre,
        radius,
        degrees=rng.normal(0.0, 6.0),
        flip=bool(rng.random() < 0.5),
        aspect=float(np.exp(rng.normal(0.0, 0.07))),
        plain=bool(rng.random() < plain_share),
        hue=HUES.get(name) if rng.random() < own_hue else None,
    )
    DRAWN[name](sprite, rng)
    sprite.light(rng)
    return _Placed(name, sprite, foot, _onto(sprite.rgba[..., 3], sprite, size), centre[0])


def _window(sprite: Sprite, canvas: int) -> tuple[slice, slice, slice, slice]:
    """The overlap of sprite and canvas: rows and columns of the canvas, then of the sprite."""
    reach = sprite.part.shape[0]
    x, y = sprite.origin
    rows, columns = slice(max(y, 0), min(y + reach, canvas)), slice(max(x, 0), min(x + reach, canvas))
    return rows, columns, slice(rows.start - y, rows.stop - y), slice(columns.start - x, columns.stop - x)


def _onto(alpha: np.ndarray, sprite: Sprite, size: int) -> np.ndarray:
    """A sprite's alpha on the image's pixels, float32 (size, size)."""
    canvas = np.zeros((size * SUPERSAMPLING, size * SUPERSAMPLING), np.uint8)
    rows, columns, own_rows, own_columns = _window(sprite, canvas.shape[0])
    canvas[rows, columns] = alpha[own_rows, own_columns]
    return cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32) / 255.0


def _lay(stage: Stage, item: _Placed) -> None:
    """Draw an object and its shadow onto the canvas."""
    size = stage.canvas.shape[0]
    sprite = item.sprite
    if stage.shadow:
        wide, high = int(sprite.radius * 0.85), max(2, int(sprite.radius * 0.16))
        soft = np.zeros((high * 6, wide * 2 + high * 4), np.uint8)
        middle = (soft.shape[1] // 2, soft.shape[0] // 2)
        cv2.ellipse(soft, middle, (wide, high), 0, 0, 360, int(255 * stage.shadow), -1)
        soft = cv2.blur(cv2.blur(soft, (high | 1, high | 1)), (high | 1, high | 1))
        top, left = int(item.foot) - middle[1], int(item.centre) - middle[0]
        rows = slice(max(top, 0), max(min(top + soft.shape[0], size), 0))
        columns = slice(max(left, 0), max(min(left + soft.shape[1], size), 0))
        shade = 255 - soft[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
        ground = stage.canvas[rows, columns]
        ground[:] = cv2.multiply(ground, cv2.merge([shade] * 3), scale=1 / 255.0)
    rows, columns, own_rows, own_columns = _window(sprite, size)
    rgba = sprite.rgba[own_rows, own_columns]
    under = stage.canvas[rows, columns]
    left_over = cv2.bitwise_not(cv2.merge([rgba[..., 3]] * 3))
    colours = cv2.cvtColor(rgba, cv2.COLOR_RGBA2RGB)
    under[:] = cv2.add(cv2.multiply(under, left_over, scale=1 / 255.0), colours)


def _visible(placed: list[_Placed]) -> list[np.ndarray]:
    """Visible cover of each object, without what nearer objects hide."""
    seen: list[np.ndarray] = []
    open_to_view = np.float32(1.0)
    for item in reversed(placed):
        seen.append(item.cover * open_to_view)
        open_to_view = open_to_view * (1.0 - item.cover)
    return seen[::-1]


def _visible_shares(placed: list[_Placed]) -> list[float]:
    """Visible fraction of each object's area, which includes parts outside of the image."""
    shares = []
    for item, seen in zip(placed, _visible(placed), strict=True):
        whole = float(item.sprite.rgba[..., 3].sum(dtype=np.int64)) / 255.0 / SUPERSAMPLING**2
        shares.append(float(seen.sum()) / max(whole, 1.0))
    return shares


def _marks_show(placed: list[_Placed]) -> bool:
    """Return whether enough of each look-alike's mark is visible."""
    for item, seen in zip(placed, _visible(placed), strict=True):
        if item.name in LOOK_ALIKES:
            part = _onto(item.sprite.part, item.sprite, len(item.cover))
            if float((part * seen).sum()) < MIN_MARK * float(part.sum()):
                return False
    return True


def _truth(placed: list[_Placed], classes: tuple[str, ...], size: int) -> tuple[_Truth, _Truth]:
    """Truth of objects and of telling parts. A pixel belongs to the object, or background, that covers most of it."""
    whole, parts = _Truth(size), _Truth(size)
    if not placed:
        return whole, parts
    seen = np.stack(_visible(placed))
    owner = np.argmax(np.concatenate([1.0 - seen.sum(0, keepdims=True), seen]), axis=0)
    for number, item in enumerate(placed, start=1):
        own = owner == number
        whole.add(item.name, own, classes)
        parts.add(item.name, own & (_onto(item.sprite.part, item.sprite, size) >= 0.5), classes)
    return whole.ordered(classes), parts.ordered(classes)


def _expose(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Simulate a camera: brightness, tint and fine grain."""
    gain = rng.normal(1.0, 0.06) + rng.normal(0.0, 0.02, 3)
    grain = rng.normal(0.0, 2.5, image.shape[:2]).astype(np.float32)[..., None]
    return np.clip(image * gain.astype(np.float32) + grain, 0, 255).astype(np.uint8)
