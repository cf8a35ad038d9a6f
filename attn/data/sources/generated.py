"""Generated scenes as a source: no download, and exact labels, masks and boxes."""

from __future__ import annotations

__all__ = ["Annotation", "ScenesConfig", "ScenesSource"]

import functools
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field

from attn.data.sample import Example, Record
from attn.data.scenes import CLASSES, SPLITS, Scene, render
from attn.data.source import OnError, SourceConfig, fingerprint
from attn.errors import DataError

COUNTS = {"train": 600}
OTHER_COUNT = 200
Annotation = Literal["objects", "telling_parts"]


class ScenesConfig(SourceConfig):
    """Scenes of objects with a small telling part and a large plain body, in contexts that may depend on the class.

    Attributes:
        split: `train`, `val`, `test` (unbiased), `object_without_context`, `context_without_object`.
        count: Number of scenes.
        seed: Seed of the scenes; the run's own seed does not change the data.
        size: Side of the square images in pixels.
        context_bias: 0 (contexts are independent of classes) to 1 (a boat if and only if there is water).
        objects: Minimum and maximum number of objects in a scene.
        plain_share: Fraction of objects without their discriminative part.
        own_hue: Fraction of objects with a body in the hue of their class, which reveals the class, too.
        classes: Classes to use, in this order.
        annotation: What masks and boxes mark: whole `objects`, or their `telling_parts`, which `plain_share` of the
            objects lack. Saliency is of objects.
    """

    source: Literal["scenes"] = "scenes"
    count: int | None = Field(default=None, ge=1, le=1_000_000)
    seed: int = Field(default=0, ge=0, lt=2**63)
    size: int = Field(default=96, ge=32, le=4096)
    context_bias: float = Field(default=0.7, ge=0, le=1)
    objects: tuple[int, int] = (1, 2)
    plain_share: float = Field(default=0.1, ge=0, le=1)
    own_hue: float = Field(default=1.0, ge=0, le=1)
    classes: tuple[str, ...] = CLASSES
    annotation: Annotation = "objects"

    def open(self) -> ScenesSource:
        """Render the split, about 2 ms per scene; cached in the process.

        Raises:
            DataError: Split, classes or objects are invalid.
        """
        if self.split not in SPLITS:
            raise DataError(f"there is no split {self.split!r}; scenes have {', '.join(SPLITS)}")
        return _rendered(self.model_dump_json())


class ScenesSource:
    """The scenes of one split in memory, about six bytes per pixel. A pickled copy in a worker renders them again.

    Args:
        exclusive: See `Source`.
    """

    def __init__(self, config: ScenesConfig, *, exclusive: bool = False) -> None:
        self.config, self.classes, self.exclusive = config, config.classes, exclusive
        self.on_error: OnError = config.on_error
        count = config.count or COUNTS.get(config.split, OTHER_COUNT)
        try:
            self._scenes = {index: self._render(index) for index in range(count)}
        except ValueError as error:
            raise DataError(f"data: {error}") from None
        self.records: Sequence[Record] = tuple(_record(scene, config) for scene in self._scenes.values())

    def load(self, index: int, *, mask: bool = True, saliency: bool = True) -> Example:
        if index not in self._scenes:
            self._scenes[index] = self._render(index)
        scene = self._scenes[index]
        return Example(
            self.records[index],
            scene.image,
            mask=_marked(scene, self.config)[0] if mask else None,
            saliency=scene.saliency if saliency else None,
        )

    def fingerprint(self) -> str:
        return fingerprint(self.classes, self.records)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_scenes": {}}

    def _render(self, index: int) -> Scene:
        config = self.config
        return render(
            config.split,
            index,
            seed=config.seed,
            size=config.size,
            context_bias=config.context_bias,
            objects=config.objects,
            classes=config.classes,
            plain_share=config.plain_share,
            own_hue=config.own_hue,
        )


@functools.lru_cache(maxsize=4)
def _rendered(config: str) -> ScenesSource:
    """Cached, because a job builds its data a dozen times: to check, to record, and in every stage."""
    return ScenesSource(ScenesConfig.model_validate_json(config))


def _marked(scene: Scene, config: ScenesConfig) -> tuple[np.ndarray, dict[str, list[tuple[int, int, int, int]]]]:
    """The mask and the boxes that a scene is annotated with."""
    return (scene.mask, scene.boxes) if config.annotation == "objects" else (scene.part_mask, scene.part_boxes)


def _record(scene: Scene, config: ScenesConfig) -> Record:
    classes, (_, marked) = config.classes, _marked(scene, config)
    boxes = [(classes.index(name), box) for name, of_class in marked.items() for box in of_class]
    return Record(
        image_id=scene.image_id,
        labels=tuple(sorted(classes.index(name) for name in scene.labels)),
        mask=f"scenes#{scene.image_id}",
        saliency=f"scenes#{scene.image_id}",
        boxes=tuple((label, (float(box[0]), float(box[1]), float(box[2]), float(box[3]))) for label, box in boxes),
    )
