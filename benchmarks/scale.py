"""What a data set of many images costs the processes of a training: memory, bytes and seconds to the first step.

    python -m benchmarks.scale --rows 1280000

Writes a manifest of so many rows (CSV, one class a row of a hundred) over a few tiny images, and measures

- a process that opens it: seconds, and the memory that it holds then, above that of the same process before;
- the same as it is sent to another process: pickled bytes, seconds, and the memory of the process that takes it;
- `attn train` on it (`--train`): seconds to its first step, and the most memory of its own process and of a worker.

Prints JSON. Memory is the resident set, in MiB.
"""

from __future__ import annotations

__all__ = ["main"]

import argparse
import contextlib
import csv
import gc
import json
import multiprocessing
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

from attn.data.sources.manifest import ManifestConfig

IMAGES, CLASSES = 100, 100
OVERRIDES = (
    "method=grad_cam", "model.name=tiny", "model.weights=null", "input.size=32", "training.epochs=null",
    "training.steps=2", "training.batch_size=16", "validation.split=null", "tracking.enabled=false",
    "tracking.preview_images=0", "cluster.workers=1", "data.source=manifest",
)  # fmt: skip
COMMAND = (sys.executable, "-c", "from services.cli.main import main; main()", "train", "grad_cam")
SAMPLE_SECONDS = 0.2


def main(rows: int, *, train: bool) -> dict[str, Any]:
    """Measure; see the module."""
    with tempfile.TemporaryDirectory(prefix="attn-scale-") as name:
        folder = Path(name)
        _write(folder, rows)
        results: dict[str, Any] = {"rows": rows, "open": _measured(_opened, folder)}
        results["sent"] = _measured(_taken, folder)
        if train:
            results["train"] = _trained(folder)
    return results


def _write(folder: Path, rows: int) -> None:
    generator = np.random.default_rng(0)
    (folder / "images").mkdir()
    for number in range(IMAGES):
        pixels = generator.integers(0, 256, (32, 32, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{number:03d}.jpg")
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(["image", "labels", "id"])
        for row in range(rows):
            label = f"class {row % CLASSES:02d}"
            table.writerow([f"images/{row % IMAGES:03d}.jpg", label, f"{label}/{row:08d}"])


def _measured(work: Callable[[Path], dict[str, Any]], folder: Path) -> dict[str, Any]:
    """What work returns, done by a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, (folder,))


def _opened(folder: Path) -> dict[str, Any]:
    source_of = ManifestConfig(manifest=str(folder / "manifest.csv")).build
    before, began = _memory(), time.monotonic()
    source = source_of()
    seconds = time.monotonic() - began
    gc.collect()
    held = _memory() - before
    began = time.monotonic()
    data = pickle.dumps(source, protocol=5)
    pickled = time.monotonic() - began
    (folder / "source.pickle").write_bytes(data)
    return {
        "seconds": round(seconds, 2),
        "MiB held": round(held, 1),
        "most MiB": round(_peak() - before, 1),
        "pickled MiB": round(len(data) / 2**20, 1),
        "seconds to pickle": round(pickled, 2),
    }


def _taken(folder: Path) -> dict[str, Any]:
    data = (folder / "source.pickle").read_bytes()
    before, began = _memory(), time.monotonic()
    source = pickle.loads(data)
    seconds = time.monotonic() - began
    assert source.records
    return {"seconds": round(seconds, 2), "MiB held": round(_memory() - before, 1)}


def _trained(folder: Path) -> dict[str, Any]:
    """Seconds to the first step, and the most memory of the command's own process and of its worker."""
    command = [*COMMAND, f"root={folder}/runs", f"data.manifest={folder}/manifest.csv", *OVERRIDES]
    began, first, most = time.monotonic(), 0.0, dict.fromkeys(("driver", "worker"), 0.0)
    log = folder / "train.log"
    with log.open("wb") as stream, subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=stream) as run:
        driver = psutil.Process(run.pid)
        while run.poll() is None:
            with contextlib.suppress(psutil.Error):
                most["driver"] = max(most["driver"], driver.memory_info().rss / 2**20)
                for process in driver.children(recursive=True):
                    if "RayTrainWorker" in process.name() or "RayTrainWorker" in " ".join(process.cmdline()):
                        most["worker"] = max(most["worker"], process.memory_info().rss / 2**20)
            if not first and b"step 1/" in log.read_bytes():
                first = time.monotonic() - began
            time.sleep(SAMPLE_SECONDS)
    assert run.returncode == 0, log.read_text(encoding="utf-8")
    most_rounded = {f"{name}, most MiB": round(value, 1) for name, value in most.items()}
    return {"seconds to the first step": round(first, 1), **most_rounded}


def _memory() -> float:
    return psutil.Process().memory_info().rss / 2**20


def _peak() -> float:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_280_000)
    parser.add_argument("--train", action="store_true", help="Also train two steps on it.")
    arguments = parser.parse_args()
    print(json.dumps(main(arguments.rows, train=arguments.train), indent=1))
