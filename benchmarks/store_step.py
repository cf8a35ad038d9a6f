"""What accumulation adds to OAA's training step, as a ratio to the same step without it.

    python -m benchmarks.store_step --network mobilenet_v2 --size 225 --stride 16 --batch 16 --images 330
    python -m benchmarks.store_step --network vgg16 --size 224 298 --stride 8 --batch 1 --images 10582 --rounds 7

A step is forward, backward and the optimiser's update. Both variants share network, images and process; each round runs
each of them once, in random order. What is done once an epoch (seal, merge, commit) is measured by itself on a store of
`--images` images and spread over the epoch's steps. Figures are medians of process CPU time (a shared machine does not
disturb it) and wall-clock time.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from attn import store as map_store
from attn.data.geometry import Geometry
from attn.data.sample import Batch, Record
from attn.maps import pairs_of
from attn.methods.base import MethodConfig, Progress, StepMaps
from attn.models import ModelConfig, Network
from attn.models.map_size import MapSize
from attn.training.accumulation import Accumulator
from attn.training.allocator import keep_freed_memory
from attn.training.config import StoreConfig
from attn.training.optimizer import OptimizerConfig, build_optimizer
from attn.training.world import World
from benchmarks.step_cost import measure

CLASSES = 20
TARGET = 1.03
EPOCHS = 3


def make_records(count: int) -> list[Record]:
    """Images with one or two classes, 1.5 on average as in VOC."""
    rng = np.random.default_rng(0)
    labels = [tuple(sorted(rng.choice(CLASSES, 1 + number % 2, replace=False).tolist())) for number in range(count)]
    return [Record(f"{number:06d}", item) for number, item in enumerate(labels)]


def make_batch(records: list[Record], images: torch.Tensor) -> Batch:
    """Records with one and the same set of pixels, half of them mirrored."""
    labels = torch.zeros(len(records), CLASSES)
    for row, record in enumerate(records):
        labels[row, list(record.labels)] = 1
    size = (images.shape[2], images.shape[3])
    geometry = tuple(Geometry.whole((375, 500), size, flip=row % 2 == 1) for row in range(len(records)))
    none = torch.zeros((0, 2), dtype=torch.int64)
    return Batch(
        tuple(range(len(records))), tuple(records), images, labels, geometry, none, images.new_zeros((0, *size))
    )


def measure_epoch(accumulator: Accumulator, records: list[Record], grid: tuple[int, int]) -> dict[str, float]:
    """Seconds of an epoch's seal, merge and commit, the store being full already: CPU and wall-clock medians."""
    rng = np.random.default_rng(1)
    times: list[tuple[float, float]] = []
    for epoch in range(1, 1 + EPOCHS):
        for start in range(0, len(records), 256):
            part = records[start : start + 256]
            batch = make_batch(part, torch.zeros(len(part), 3, 1, 1))
            coarse = torch.from_numpy(rng.random((len(pairs_of(batch.labels)), 1, 5, 5), np.float32))
            maps = torch.nn.functional.interpolate(coarse, grid, mode="bilinear")[:, 0]
            accumulator.add(batch, StepMaps(maps, batch.labels * 4 - 2), epoch)
        cpu, wall = time.process_time(), time.perf_counter()
        accumulator.finish_epoch(epoch)
        times.append((time.process_time() - cpu, time.perf_counter() - wall))
    return {"cpu": statistics.median(t[0] for t in times[1:]), "wall": statistics.median(t[1] for t in times[1:])}


def variants(
    arguments: argparse.Namespace, accumulator: Accumulator, network: Network
) -> dict[str, Callable[[], object]]:
    """The training step without and with its maps; each takes other images of the data set."""
    optimizer = build_optimizer(network, OptimizerConfig(lr=1e-6))
    method = MethodConfig.members["oaa"].model_validate({"name": "oaa"}).build()
    records = make_records(arguments.images)
    images = torch.randn(arguments.batch, 3, arguments.size[0], arguments.size[-1])

    def step(*, keep: bool) -> None:
        batch = make_batch(random.sample(records, arguments.batch), images)
        output = method.step(network, batch, Progress(epoch=0, step=0, fraction=0.0, maps=keep))
        output.losses["loss"].backward()
        if output.maps is not None:
            accumulator.add(batch, output.maps, 0)
        optimizer.step()

    return {"plain": lambda: step(keep=False), "store": lambda: step(keep=True)}


def report(figures: dict[str, dict[str, float]], epoch: dict[str, float], steps: int) -> dict[str, float]:
    """Print the ratios, and return them by name."""
    results: dict[str, float] = {}
    for kind in ("cpu", "wall"):
        plain, kept = (figures[name][f"{kind}_ms"] for name in ("plain", "store"))
        low, high = (figures["store"][f"{kind}_ratio_{quartile}"] for quartile in ("q1", "q3"))
        end = 1000 * epoch[kind] / steps
        results |= {
            f"{kind}_plain_ms": plain,
            f"{kind}_step_ratio": kept / plain,
            f"{kind}_ratio": (kept + end) / plain,
        }
        print(
            f"{kind}: step {plain:.1f} ms, with its maps x{kept / plain:.4f} (quartiles {low:.3f}-{high:.3f})", end=""
        )
        print(f", epoch's end {1000 * epoch[kind]:.1f} ms = {end:.3f} ms a step", end="")
        print(f", together x{(kept + end) / plain:.4f} (target {TARGET})")
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="mobilenet_v2")
    parser.add_argument("--stride", type=int, default=16)
    parser.add_argument("--head-width", type=int, default=512)
    parser.add_argument("--size", type=int, nargs="+", default=[225], help="side of the input, or height and width")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--images", type=int, default=330, help="of the data set")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    keep_freed_memory()
    torch.manual_seed(0)
    random.seed(0)
    head = {"head": "conv", "head_convolutions": 3, "head_width": arguments.head_width}
    model = {"name": arguments.network, "weights": None, "stride": arguments.stride, **head}
    config = ModelConfig.model_validate(model)
    network, grid = config.build(CLASSES), MapSize(config)((arguments.size[0], arguments.size[-1]))
    records = make_records(arguments.images)
    with tempfile.TemporaryDirectory() as folder:
        rows = [(record.image_id, label) for record in records for label in record.labels]
        store = map_store.create(folder, rows=rows, grid=grid)
        world = World(0, 1, torch.device("cpu"))
        # In the last epoch those maps are kept too that the gate drops: every map of the step is.
        accumulator = Accumulator(StoreConfig(start_epoch=0), store, "steps", world, 1)
        accumulator.begin(None)
        figures = measure(variants(arguments, accumulator, network), network, arguments.rounds)
        whole = Accumulator(StoreConfig(), store, "epochs", world, EPOCHS + 2)
        whole.begin(None)
        epoch = measure_epoch(whole, records, grid)

    steps = -(-arguments.images // arguments.batch)
    print(f"{arguments.network}, input {arguments.size}, maps {grid}, {len(rows)} rows, {steps} steps an epoch")
    result = report(figures, epoch, steps)
    if arguments.json:
        settings = {key: str(value) for key, value in vars(arguments).items()}
        arguments.json.write_text(json.dumps({"settings": settings, "figures": result}, indent=1))


if __name__ == "__main__":
    main()
