"""Generated scenes of classes that differ in one small part, so that they are easily confused."""

from __future__ import annotations

__all__ = ["LookAlikesConfig"]

from typing import Literal

from pydantic import Field

from attn.data.scenes import LOOK_ALIKES
from attn.data.source import SourceConfig
from attn.data.sources.generated import Annotation, ScenesConfig, ScenesSource
from attn.errors import DataError

SPLITS = ("train", "val", "test")


class LookAlikesConfig(SourceConfig):
    """Birds, fish and beetles, three classes of each, which differ only in the position of a bright mark.

    Colours do not depend on the class, and neither does the background, unless `context_bias` ties them. With one
    object per scene the classes are exclusive.

    Attributes:
        split: `train`, `val` or `test`.
        count: Number of scenes.
        seed: Seed of the scenes; the run's own seed does not change the data.
        size: Side of the square images in pixels.
        context_bias: Of `train` and `val`: 0 (the background says nothing about the class) to 1 (each class of a family
            has a background of its own). In `test` it says nothing.
        objects: Minimum and maximum number of objects in a scene.
        classes: Classes to use, in this order.
        annotation: What masks and boxes mark: whole `objects`, or the mark alone (`telling_parts`).
    """

    source: Literal["look_alikes"] = "look_alikes"
    count: int | None = Field(default=None, ge=1, le=1_000_000)
    seed: int = Field(default=0, ge=0, lt=2**63)
    size: int = Field(default=96, ge=32, le=4096)
    context_bias: float = Field(default=0.0, ge=0, le=1)
    objects: tuple[int, int] = (1, 1)
    classes: tuple[str, ...] = tuple(LOOK_ALIKES)
    annotation: Annotation = "objects"

    def open(self) -> ScenesSource:
        """Render the split, about 10 ms per scene.

        Raises:
            DataError: Split, classes or objects are invalid.
        """
        if self.split not in SPLITS:
            raise DataError(f"there is no split {self.split!r}; look-alikes have {', '.join(SPLITS)}")
        unknown = [name for name in self.classes if name not in LOOK_ALIKES]
        if unknown:
            raise DataError(
                f"data.classes: {', '.join(unknown)} are no look-alikes; there are {', '.join(LOOK_ALIKES)}"
            )
        scenes = ScenesConfig(
            split=self.split,
            on_error=self.on_error,
            count=self.count,
            seed=self.seed,
            size=self.size,
            context_bias=self.context_bias,
            objects=self.objects,
            plain_share=0.0,
            own_hue=0.0,
            classes=self.classes,
            annotation=self.annotation,
        )
        return ScenesSource(scenes, exclusive=self.objects == (1, 1))
