"""What a layout costs: time of an epoch, objects, bytes, memory, and how long a random read takes."""

from __future__ import annotations

__all__ = ["measure", "writer_memory"]

import importlib
import time
from pathlib import Path
from typing import Any

import numpy as np

from attn import store
from benchmarks.store.layouts import LAYOUTS, Layout, Place
from benchmarks.store.maps import GRID, Workload
from benchmarks.store.memory import Peak
from benchmarks.store.ours import OURS, MapStoreLayout

READS, WARM = 1000, 20
MIB = 2**20


def measure(name: str, work: Workload, epochs: int, folder: Path) -> dict[str, Any]:
    """Keep some epochs' maps in a layout, then read images at random. Only the layout's own time counts."""
    if name.startswith("zarr"):
        importlib.import_module("zarr")  # not to be counted as memory
    peak = Peak()
    started = time.perf_counter()
    layout: Layout = ({**LAYOUTS, **OURS})[name](Place(folder, work))
    made_s = time.perf_counter() - started
    seconds: list[float] = []
    cpu_seconds: list[float] = []
    for epoch in range(epochs):
        wall = cpu = 0.0
        for rows, maps in work.batches(epoch):
            wall_0, cpu_0 = time.perf_counter(), time.process_time()
            layout.step(epoch, rows, maps)
            wall, cpu = wall + time.perf_counter() - wall_0, cpu + time.process_time() - cpu_0
        wall_0, cpu_0 = time.perf_counter(), time.process_time()
        layout.end(epoch)
        seconds.append(wall + time.perf_counter() - wall_0)
        cpu_seconds.append(cpu + time.process_time() - cpu_0)
    results: dict[str, Any] = {
        "layout": name,
        "work": work.name,
        "maps": work.rows,
        "images": work.images,
        "made_s": made_s,
        "epoch_s": seconds,
        "epoch_cpu_s": cpu_seconds,
        "peak_bytes": peak.bytes,
    }
    files = [path.stat() for path in folder.rglob("*") if path.is_file()]
    results |= {
        "objects": len(files),
        "bytes": sum(file.st_size for file in files),
        "disk_bytes": sum(file.st_blocks * 512 for file in files),
    }
    if isinstance(layout, MapStoreLayout):
        results |= layout.figures()
    return results | _random_reads(layout, work)


def _random_reads(layout: Layout, work: Workload) -> dict[str, Any]:
    """Milliseconds of reading all maps of one image, images at random, files in the kernel's cache."""
    started = time.perf_counter()
    read = layout.reader()
    rng = np.random.default_rng(2)
    images = rng.choice(work.images, min(READS + WARM, work.images), replace=False).tolist()
    read(images[0])
    first_s = time.perf_counter() - started
    taken: list[float] = []
    for image in images[1:]:
        wall = time.perf_counter()
        read(image)
        taken.append(1000 * (time.perf_counter() - wall))
    median, late = np.percentile(taken[WARM:], [50, 95])
    return {"first_read_ms": 1000 * first_s, "read_ms": float(median), "read_p95_ms": float(late)}


def writer_memory(folder: Path, maps: int, seal_every: int, limit_bytes: int | None) -> dict[str, Any]:
    """The most memory that a writer takes for so many different rows, sealed after every so many."""
    maps_store = store.create(str(folder / "store"), rows=((f"{row:08d}", 0) for row in range(maps)), grid=GRID)
    session = maps_store.begin("memory")
    len(maps_store.rows)
    values = np.random.default_rng(0).integers(0, 256, (64, *GRID), dtype=np.uint8)
    peak = Peak()
    writer = session.writer(0, limit_bytes=limit_bytes)
    for start in range(0, maps, 64):
        rows = np.arange(start, min(start + 64, maps))
        writer.add_many(rows, values[: len(rows)])
        if (start + 64) % seal_every < 64:
            writer.seal(0)
    writer.seal(0)
    return {"maps": maps, "seal_every": seal_every, "limit_bytes": limit_bytes, "peak_bytes": peak.bytes}
