"""Generated scenes of classes that are told apart by one small part: visual confusion by construction."""

from __future__ import annotations

__all__ = ["LookAlikesConfig"]

from typing import Literal

from pydantic import Field

from attn.data.scenes import LOOK_ALIKES
from attn.data.source import SourceConfig
from attn.data.sources.generated import ScenesConfig, ScenesSource
from attn.errors import DataError

SPLITS = ("train", "val", "test")


class LookAlikesConfig(SourceConfig):
    """Birds, fish and beetles, three classes of each, that differ only by where a bright mark is.

    The background tells nothing, nor do the colours of body and mark. With one object to a scene the classes exclude
    each other; with more they do not.

    Attributes:
        split: `train`, `val` or `test`, all drawn alike.
        count: Number of scenes.
        seed: Of the scenes themselves; the run's own seed does not change the data.
        size: Side of the square images in pixels.
        objects: Least and greatest number of objects in a scene.
        classes: Which of the classes there are, in this order.
    """

    source: Literal["look_alikes"] = "look_alikes"
    count: int | None = Field(default=None, ge=1, le=1_000_000)
    seed: int = Field(default=0, ge=0, lt=2**63)
    size: int = Field(default=96, ge=32, le=4096)
    objects: tuple[int, int] = (1, 1)
    classes: tuple[str, ...] = tuple(LOOK_ALIKES)

    def open(self) -> ScenesSource:
        """Render the split once, about 10 ms a scene.

        Raises:
            DataError: Split, classes or objects are not available.
        """
        if self.split not in SPLITS:
            raise DataError(f"split {self.split!r} is not there; look-alikes have {', '.join(SPLITS)}")
        strange = [name for name in self.classes if name not in LOOK_ALIKES]
        if strange:
            raise DataError(
                f"data.classes: {', '.join(strange)} are no look-alikes; there are {', '.join(LOOK_ALIKES)}"
            )
        scenes = ScenesConfig(
            split=self.split,
            on_error=self.on_error,
            count=self.count,
            seed=self.seed,
            size=self.size,
            context_bias=0.0,
            objects=self.objects,
            plain_share=0.0,
            own_hue=0.0,
            classes=self.classes,
        )
        return ScenesSource(scenes, exclusive=self.objects == (1, 1))
