"""Targets of a data set's maps, chunk by chunk: a map store, or PNGs."""

from __future__ import annotations

__all__ = ["MapSink", "PngSink", "StoreSink"]

from typing import Protocol

import cv2
import numpy as np

from attn.evaluation.inference import ImageMaps
from attn.files.locations import within
from attn.files.transfer import write_bytes
from attn.store import DeltaRef, Session, Writer

BUFFER_BYTES = 256 << 20
"""Of maps that wait in a process."""


class MapSink(Protocol):
    """Target of maps.

    Attributes:
        grid: The size that it takes them in, None for the image's own.
    """

    grid: tuple[int, int] | None

    def begin(self, chunk: int) -> None: ...

    def add(self, image: ImageMaps) -> None: ...

    def close(self) -> DeltaRef | None:
        """Make the chunk's maps durable."""
        ...


class StoreSink:
    def __init__(self, session: Session, grid: tuple[int, int]) -> None:
        self.session = session
        self.grid: tuple[int, int] | None = grid
        self.writer: Writer | None = None

    def begin(self, chunk: int) -> None:
        self.writer = self.session.writer(chunk, limit_bytes=BUFFER_BYTES)

    def add(self, image: ImageMaps) -> None:
        assert self.writer is not None, "a chunk has begun"
        for index, values in image.maps.items():
            self.writer.add(image.record.image_id, index, values)

    def close(self) -> DeltaRef:
        assert self.writer is not None, "a chunk has begun"
        return self.writer.seal()


class PngSink:
    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.grid: tuple[int, int] | None = None  # the image's own size

    def begin(self, chunk: int) -> None: ...

    def add(self, image: ImageMaps) -> None:
        name = image.record.image_id
        for index, values in image.maps.items():
            pixels = np.rint(values * 255).astype(np.uint8)
            path = within(self.folder, f"{name}_{index}.png", f"image {name!r}")
            write_bytes(path, cv2.imencode(".png", pixels)[1].tobytes())

    def close(self) -> None: ...
