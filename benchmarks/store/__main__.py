"""The map store against other ways to keep cumulative maps: time of an epoch, objects, bytes, memory, random reads.

    python -m benchmarks.store --photographs VOCdevkit --weights mobilenet_v2-imagenet.pth --maps bank.npy \
        --json store.json --markdown store.md

`bank.npy` is made of the photographs at the first run (a quarter of an hour on one core). Each layout runs in a process
of its own, which keeps freed memory as training workers do, on the same maps in the same order; the VOC-sized runs are
repeated in turns. zarr is measured where it is installed (`pip install attn[bench]`). Layouts with a file per map are
run on a tenth of the ImageNet-sized set.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from attn.training.allocator import keep_freed_memory
from benchmarks.store.layouts import LAYOUTS
from benchmarks.store.maps import IMAGENET_MAPS, Workload, imagenet_sized, photographs
from benchmarks.store.measure import MIB, measure, writer_memory
from benchmarks.store.ours import OURS
from benchmarks.store.report import table

FILE_PER_MAP = ("png", "png durable", "npy")
SHARE = 10
MEMORY = ((40_000, 10_000, None), (40_000, 40_000, None), (160_000, 10_000, None), (160_000, 160_000, 16 * MIB))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photographs", type=Path, nargs="*", default=[], help="folders with *.jpg")
    parser.add_argument("--weights", default="", help="state dict of torchvision's MobileNetV2")
    parser.add_argument("--maps", type=Path, required=True, help="where the maps are kept between runs")
    parser.add_argument("--folder", type=Path, help="where the layouts lie; left out, a temporary folder")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3, help="of the VOC-sized runs")
    parser.add_argument("--imagenet-maps", type=int, default=IMAGENET_MAPS)
    parser.add_argument("--imagenet-epochs", type=int, default=3)
    parser.add_argument("--only", default="", help="layouts whose name contains this")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--one", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(_one(arguments)))
        return

    photographs(arguments.photographs, arguments.weights, arguments.maps)
    names = [name for name in (*OURS, *LAYOUTS) if arguments.only in name]
    if not find_spec("zarr"):
        names = [name for name in names if not name.startswith("zarr")]
    results: list[dict[str, Any]] = []
    jobs = [("voc", name) for _ in range(arguments.rounds) for name in names]
    jobs += [("imagenet", name) for name in names if "each step" not in name and name != "png durable"]
    for work, name in jobs:
        results.append(_apart(arguments, work, name))
        print(json.dumps(results[-1]), flush=True)
    memory = [_apart(arguments, "memory", *(str(value or 0) for value in case)) for case in MEMORY]
    text = table(results, memory)
    print(text)
    if arguments.json:
        settings = {name: str(value) for name, value in vars(arguments).items()}
        arguments.json.write_text(json.dumps({"settings": settings, "runs": results, "memory": memory}, indent=1))
    if arguments.markdown:
        arguments.markdown.write_text(text)


def _apart(arguments: argparse.Namespace, *one: str) -> dict[str, Any]:
    """One measurement in a process and a folder of its own."""
    folder = Path(tempfile.mkdtemp(prefix="store-bench-", dir=arguments.folder))
    passed = ("maps", "epochs", "imagenet_maps", "imagenet_epochs")
    options = [text for name in passed for text in (f"--{name.replace('_', '-')}", str(getattr(arguments, name)))]
    command = [sys.executable, "-m", "benchmarks.store", *options, "--folder", str(folder), "--one", *one]
    try:
        return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    finally:
        shutil.rmtree(folder)


def _one(arguments: argparse.Namespace) -> dict[str, Any]:
    kind, *rest = arguments.one
    if kind == "memory":
        maps, seal_every, limit = map(int, rest)
        return writer_memory(arguments.folder, maps, seal_every, limit or None)
    keep_freed_memory()
    work: Workload = photographs((), "", arguments.maps)
    epochs = arguments.epochs
    if kind == "imagenet":
        maps = arguments.imagenet_maps // (SHARE if rest[0] in FILE_PER_MAP else 1)
        work, epochs = imagenet_sized(work, maps), arguments.imagenet_epochs
    return measure(rest[0], work, epochs, arguments.folder)


if __name__ == "__main__":
    main()
