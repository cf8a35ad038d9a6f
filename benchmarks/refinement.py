"""What the refinement of maps costs: an image on one core; a large map store, in memory and time.

    python -m benchmarks.refinement image VOCdevkit/VOC2012 --weights vit.pth --images 16 --json refinement.json
    python -m benchmarks.refinement store --rows 10000 --tasks 2 --json refined_store.json

`image` gives each refinement the photographs of a split at their own size, with random maps of their labels as a
classifier gives them. Figures are medians over images of the process's CPU time, which other work on the machine
disturbs little, and of wall-clock time; decoding is not part of them. Without weights, affinity's are random.
`store` refines a store of random maps of generated scenes by PAMR, and takes the peak memory of this process and of
each process below it, sampled.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from attn import store
from attn.data.sources.generated import ScenesConfig
from attn.data.sources.voc import VocConfig
from attn.maps.refine import AffinityConfig, CrfRefinementConfig, PamrConfig, RefinementConfig
from jobs.maps import load, run

GRID = 21
"""Side of the maps that are refined."""
MODEL = "timm/vit_small_patch14_dinov2"
SCENE = 32
SAMPLE_SECONDS = 0.2


def measure_image(root: str, split: str, images: int, configs: Mapping[str, RefinementConfig]) -> dict[str, Any]:
    """CPU and wall-clock seconds an image, by the refinement's name."""
    torch.set_num_threads(1)
    source = VocConfig(root=root, split=split).build()
    results: dict[str, Any] = {}
    for name, config in configs.items():
        refiner = config.open(torch.device("cpu"))
        seconds: list[tuple[float, float]] = []
        for index in range(-1, images):  # the first one warms up
            example = source.load(max(index, 0), mask=False, saliency=False)
            count = max(1, len(example.record.labels))
            maps = np.random.default_rng(index + 1).random((count, GRID, GRID), np.float32)
            cpu, wall = time.process_time(), time.perf_counter()
            refiner(example.image, maps)
            seconds.append((time.process_time() - cpu, time.perf_counter() - wall))
        medians = [round(statistics.median(column), 4) for column in zip(*seconds[1:], strict=True)]
        results[name] = {"cpu": medians[0], "wall": medians[1], "images": images}
        print(json.dumps({name: results[name]}), flush=True)
    return results


def measure_store(rows: int, tasks: int) -> dict[str, Any]:
    """Seconds, and peak memory in MiB of this process and of the largest one below it."""
    classes = ScenesConfig().classes[:2]
    data = ScenesConfig(count=rows, size=SCENE, objects=(1, 1), classes=classes)
    source = data.build()
    with tempfile.TemporaryDirectory() as scratch:
        pairs = [(record.image_id, label) for record in source.records for label in record.labels]
        opened = store.create(f"{scratch}/maps", rows=pairs, grid=(GRID, GRID), classes=classes)
        session = opened.begin("random")
        writer, generator = session.writer(0, limit_bytes=64 << 20), np.random.default_rng(0)
        for start in range(0, len(pairs), 1000):
            part = pairs[start : start + 1000]
            writer.add_many(part, generator.integers(0, 256, (len(part), GRID, GRID), dtype=np.uint8))
        session.publish(session.commit(0, [writer.seal()]))
        fields = [f"data.{name}={json.dumps(value)}" for name, value in data.model_dump(mode="json").items()]
        refine = ["refine.name=pamr", "refine.iterations=2", "refine.dilations=[1, 2]", f"refine.size={SCENE}"]
        job = load(f"{scratch}/maps", [f"root={scratch}", *fields, *refine, f"tasks={tasks}"])
        peaks, ended, began = {"driver": 0.0, "task": 0.0}, threading.Event(), time.perf_counter()
        watcher = threading.Thread(target=_watch, args=(peaks, ended))
        watcher.start()
        try:
            result = run(job)
        finally:
            ended.set()
            watcher.join()
    seconds = round(time.perf_counter() - began, 1)
    memory = {f"{name}_mib": round(peak) for name, peak in peaks.items()}
    figures = {"rows": len(pairs), "tasks": tasks, "maps": result.maps, "seconds": seconds, **memory}
    print(json.dumps(figures), flush=True)
    return figures


def _watch(peaks: dict[str, float], ended: threading.Event) -> None:
    own = psutil.Process()
    while not ended.wait(SAMPLE_SECONDS):
        for process in (own, *own.children(recursive=True)):
            try:
                used = process.memory_info().rss / 2**20
            except psutil.Error:
                continue  # it has ended
            name = "driver" if process == own else "task"
            peaks[name] = max(peaks[name], used)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="what", required=True)
    image = commands.add_parser("image")
    image.add_argument("root", help="Folder of VOC 2012.")
    image.add_argument("--split", default="val")
    image.add_argument("--images", type=int, default=16)
    image.add_argument("--model", default=MODEL)
    image.add_argument("--weights", help="State dict of the model.")
    image.add_argument("--size", type=int, default=336)
    large = commands.add_parser("store")
    large.add_argument("--rows", type=int, default=10_000)
    large.add_argument("--tasks", type=int, default=1)
    for command in (image, large):
        command.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.what == "store":
        results = measure_store(options.rows, options.tasks)
    else:
        with tempfile.TemporaryDirectory() as scratch:
            weights = options.weights or _random_weights(options.model, Path(scratch) / "random.pth")
            configs = {
                "affinity": AffinityConfig(model=options.model, weights=str(weights), size=options.size),
                "pamr": PamrConfig(),
                "crf": CrfRefinementConfig(),
            }
            results = measure_image(options.root, options.split, options.images, configs)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


def _random_weights(model: str, path: Path) -> Path:
    import timm

    torch.save(timm.create_model(model.removeprefix("timm/"), num_classes=0).state_dict(), path)
    return path


if __name__ == "__main__":
    main()
