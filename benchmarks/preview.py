"""What an epoch's previews cost a training: drawing the maps, and the PNG file by its compression, against a step.

    python -m benchmarks.preview scenes_grad_cam --rounds 5 [a.b=value ...]

Each round draws the recipe's preview images once and writes each as a PNG in every way, in turns, after one training
step of the recipe's network; one thread. Milliseconds are medians over rounds of process CPU time, sizes are means.
"""

from __future__ import annotations

__all__ = ["WAYS", "main"]

import argparse
import io
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from attn.methods.base import Progress
from attn.runs.recipes import load_config
from attn.runs.table import build_components
from attn.training.train_config import TrainConfig

T = TypeVar("T")

WAYS: dict[str, dict[str, Any]] = {
    "optimize": {"optimize": True},
    "level 6": {"compress_level": 6},
    "level 4": {"compress_level": 4},
    "level 1": {"compress_level": 1},
}


def main(recipe: str, overrides: list[str], rounds: int) -> None:
    """Print a line for a step, for drawing, and for each way to compress."""
    torch.set_num_threads(1)
    config = load_config(TrainConfig, recipe, overrides)
    parts = build_components(config, rank=0, world=1)
    batch, preview = next(iter(parts.loader)), parts.previewer(config.tracking.preview_images)
    times: dict[str, list[float]] = defaultdict(list)
    sizes: dict[str, float] = {}

    def step() -> None:
        parts.method.step(parts.network, batch, Progress(epoch=0, step=0, fraction=0.0)).losses["loss"].backward()

    for number in range(rounds + 1):  # the first only warms up
        _, seconds = _timed(step)
        times["a training step"].append(seconds)
        pictures, seconds = _timed(lambda: [picture.pixels for _, picture in preview.draw()])
        times["drawing, each"].append(seconds / len(pictures))
        for way in WAYS if number % 2 else reversed(WAYS):
            files, seconds = _timed(lambda way=way, pictures=pictures: [_png(one, **WAYS[way]) for one in pictures])
            times[f"PNG, {way}, each"].append(seconds / len(files))
            sizes[f"PNG, {way}, each"] = statistics.mean(map(len, files))
    for name, spent in times.items():
        size = f", {sizes[name] / 1000:.0f} kB" if name in sizes else ""
        print(f"{name}: {1000 * statistics.median(spent[1:]):.1f} ms{size}")


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    """What the work gave, and its seconds of process time: a shared machine does not disturb that."""
    start = time.process_time()
    result = work()
    return result, time.process_time() - start


def _png(pixels: NDArray[np.uint8], **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", **options)
    return buffer.getvalue()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    main(arguments.recipe, arguments.overrides, arguments.rounds)
