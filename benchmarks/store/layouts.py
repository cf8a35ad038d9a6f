"""Other ways to keep cumulative maps, all by element-wise maximum: what the map store is held against.

`step` is told an epoch's maps batch by batch, `end` that the epoch is over; `reader` gives a function that reads an
image's maps.
"""

from __future__ import annotations

__all__ = ["LAYOUTS", "Layout", "Place"]

import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks.store.maps import GRID, Workload

Rows = NDArray[np.int64]
Maps = NDArray[np.uint8]
PIXELS = GRID[0] * GRID[1]


@dataclass(frozen=True)
class Place:
    """Where a layout lies and what it is to hold."""

    folder: Path
    work: Workload


class Layout(Protocol):
    """A way to keep cumulative maps."""

    def __init__(self, place: Place) -> None: ...

    def step(self, epoch: int, rows: Rows, maps: Maps) -> None:
        """Take a batch's maps."""
        ...

    def end(self, epoch: int) -> None:
        """All maps of the epoch were given: they are to be on disk when it returns."""
        ...

    def reader(self) -> Callable[[int], Maps]:
        """Reads the maps of an image by its number."""
        ...


class Files(ABC):
    """One file per (image, class)."""

    suffix = ""

    def __init__(self, place: Place) -> None:
        self._work, self._folder = place.work, str(place.folder)
        self._image = place.work.image_of()

    def step(self, epoch: int, rows: Rows, maps: Maps) -> None:
        images = self._image[rows]
        for image, number, new in zip(images.tolist(), (rows - self._work.starts[images]).tolist(), maps, strict=True):
            path = f"{self._folder}/{image}_{number}{self.suffix}"
            self.write(path, np.maximum(new, self.read(path)) if os.path.exists(path) else new)

    def end(self, epoch: int) -> None:
        """Nothing is left to do: every step has written its files."""
        return

    def reader(self) -> Callable[[int], Maps]:
        starts = self._work.starts

        def read(image: int) -> Maps:
            count = int(starts[image + 1] - starts[image])
            return np.stack([self.read(f"{self._folder}/{image}_{number}{self.suffix}") for number in range(count)])

        return read

    @abstractmethod
    def read(self, path: str) -> Maps: ...

    @abstractmethod
    def write(self, path: str, values: Maps) -> None: ...


class Png(Files):
    """PNG files that are rewritten at every step: what OAA's published code does."""

    suffix = ".png"

    def read(self, path: str) -> Maps:
        return cv2.imread(path, cv2.IMREAD_GRAYSCALE)  # pyright: ignore[reportReturnType]

    def write(self, path: str, values: Maps) -> None:
        cv2.imwrite(path, values)


class DurablePng(Png):
    """The same, so written that a crash leaves the old file or the new one."""

    def write(self, path: str, values: Maps) -> None:
        part = f"{path}.part"
        with open(part, "wb") as stream:
            stream.write(cv2.imencode(".png", values)[1].tobytes())
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(part, path)


class Npy(Files):
    """NPY files that are rewritten at every step."""

    suffix = ".npy"

    def read(self, path: str) -> Maps:
        return np.load(path)

    def write(self, path: str, values: Maps) -> None:
        np.save(path, values)


class Gathered:
    """A whole epoch's maps in memory, joined to what is on disk in one pass at its end."""

    rows_per_part = 40_960

    def __init__(self, place: Place) -> None:
        self._work, self._folder = place.work, place.folder
        self._gathered = np.zeros((place.work.rows, PIXELS), np.uint8)

    def step(self, epoch: int, rows: Rows, maps: Maps) -> None:
        self._gathered[rows] = np.maximum(self._gathered[rows], maps.reshape(-1, PIXELS))

    def parts(self) -> list[tuple[int, int]]:
        """First and last row (exclusive) of each part that is written at once."""
        rows, step = self._work.rows, self.rows_per_part
        return [(start, min(start + step, rows)) for start in range(0, rows, step)]


class Parquet(Gathered):
    """Parquet files of 40 960 rows in row groups of 1 024, rewritten once an epoch."""

    group = 1024

    def end(self, epoch: int) -> None:
        kind = pa.binary(PIXELS)
        for start, stop in self.parts():
            values = self._gathered[start:stop]
            path = self._folder / f"{start:09d}.parquet"
            if path.exists():
                old = pq.read_table(path, use_threads=False)["map"].combine_chunks()
                values = np.maximum(values, np.frombuffer(old.buffers()[1], np.uint8).reshape(-1, PIXELS))
            column = pa.FixedSizeBinaryArray.from_buffers(kind, stop - start, [None, pa.py_buffer(values)])
            numbers = pa.array(np.arange(start, stop))
            part = path.with_suffix(".part")
            table = pa.table({"row": numbers, "map": column})
            pq.write_table(table, part, row_group_size=self.group, compression="zstd", use_dictionary=False)
            part.replace(path)
        self._gathered[:] = 0

    def reader(self) -> Callable[[int], Maps]:
        files = [pq.ParquetFile(self._folder / f"{start:09d}.parquet") for start, _ in self.parts()]
        starts, step = self._work.starts, self.rows_per_part

        def read(image: int) -> Maps:
            results: list[Maps] = []
            row, stop = int(starts[image]), int(starts[image + 1])
            while row < stop:
                number, location = divmod(row, step)
                group, offset = divmod(location, self.group)
                last = min(stop, row - offset + self.group)
                column = files[number].read_row_group(group, ["map"], use_threads=False)["map"].combine_chunks()
                values = np.frombuffer(column.buffers()[1], np.uint8).reshape(-1, *GRID)
                results.append(values[offset : offset + last - row])
                row = last
            return np.concatenate(results)

        return read


class Zarr(Gathered):
    """One zarr array in shards of 40 960 maps and chunks of 64, rewritten once an epoch."""

    sharded = True

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        import zarr  # pyright: ignore[reportMissingImports]
        from zarr.codecs import ZstdCodec  # pyright: ignore[reportMissingImports]

        shape = (place.work.rows, PIXELS)
        self._array: Any = zarr.create_array(
            store=str(place.folder / "maps.zarr"),
            shape=shape,
            chunks=(64, PIXELS),
            shards=(self.rows_per_part, PIXELS) if self.sharded else None,
            dtype="uint8",
            compressors=ZstdCodec(level=1),
            fill_value=0,
        )

    def end(self, epoch: int) -> None:
        for start, stop in self.parts():
            self._array[start:stop] = np.maximum(self._array[start:stop], self._gathered[start:stop])
        self._gathered[:] = 0

    def reader(self) -> Callable[[int], Maps]:
        starts = self._work.starts
        return lambda image: self._array[int(starts[image]) : int(starts[image + 1])].reshape(-1, *GRID)


class ZarrEachStep(Zarr):
    """One zarr array in chunks of 64 maps, written at every step."""

    sharded = False

    def step(self, epoch: int, rows: Rows, maps: Maps) -> None:
        self._array.oindex[rows] = np.maximum(self._array.oindex[rows], maps.reshape(-1, PIXELS))

    def end(self, epoch: int) -> None:
        pass


LAYOUTS: dict[str, type[Layout]] = {
    "png": Png,
    "png durable": DurablePng,
    "npy": Npy,
    "zarr": Zarr,
    "zarr each step": ZarrEachStep,
    "parquet": Parquet,
}
