"""What the dense CRF costs: after a network, spread over cores; and within SEC's training step.

    python -m benchmarks.crf cores VOCdevkit/VOC2012 --processes 1 2 --json crf_cores.json
    python -m benchmarks.crf step VOCdevkit/VOC2012 --rounds 7 --json crf_step.json

`cores` refines every photograph of a split, at its own size with SEC's parameters, by this process alone and by pools
of processes, and holds their masks against each other. The probabilities are the true masks, blurred to a network's
grid.
`step` measures SEC's training step with the CRF and without it, in turns; figures are medians over rounds.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import psutil
import torch
from numpy.typing import NDArray

from attn.data.sample import Batch, collate
from attn.data.source import Source
from attn.data.sources.voc import VocConfig
from attn.data.transforms import InputConfig
from attn.maps.dense_crf import SEC_CRF
from attn.methods.base import Progress
from attn.segmentation.crf_pool import LocalCrfPool, refine_mask
from attn.segmentation.dataset import SegmentationDataset
from attn.segmentation.labels import MaskLabels, read_labels
from attn.segmentation.methods import SecConfig
from attn.segmentation.networks import SegmentationModelConfig
from attn.segmentation.refinement import Refinement
from attn.training.allocator import keep_freed_memory

GRID = 41
SURE = 0.8


def measure_cores(root: str, split: str, images: int | None, processes: Sequence[int]) -> dict[str, Any]:
    """Seconds of the whole split by each number of processes; 1 is this process without any beside it."""
    source = VocConfig(root=root, split=split).build()
    pictures = [_picture(source, index) for index in range(len(source.records))[:images]]
    results: dict[str, Any] = {"images": len(pictures), "cores": os.cpu_count(), "runs": []}
    alone = None
    for count in processes:
        with LocalCrfPool(0 if count == 1 else count) as pool:
            small = np.zeros((4, 4, 3), np.uint8), np.full((2, 4, 4), 0.5, np.float32), SEC_CRF
            for one in [pool.submit(refine_mask, *small) for _ in range(2 * count)]:
                one.result()  # the processes are up
            began, load, busy = time.perf_counter(), os.getloadavg()[0], _cpu_seconds()
            masks = list(_refined(pool, pictures))
            seconds, busy = time.perf_counter() - began, _cpu_seconds() - busy
        alone = alone or seconds
        digest = hashlib.sha256(b"".join(mask.tobytes() for mask in masks)).hexdigest()[:16]
        run = {"processes": count, "seconds": round(seconds, 2), "speed_up": round(alone / seconds, 3), "masks": digest}
        results["runs"].append(run | {"cpu_seconds": round(busy, 2), "load_before": round(load, 1)})
        print(json.dumps(results["runs"][-1]), flush=True)
    results["identical"] = len({run["masks"] for run in results["runs"]}) == 1
    return results


def measure_step(
    root: str, rounds: int, batch_size: int, threads: int, network: str, size: int, stride: Literal[8, 16]
) -> dict[str, Any]:
    """Seconds of SEC's step with the CRF, and with the network's own probabilities in its place."""
    torch.set_num_threads(threads)
    keep_freed_memory()
    source = VocConfig(root=root, split="train").build()
    input, config = InputConfig(size=size, flip=0), SecConfig()
    wanted = SegmentationModelConfig(name=network, weights=None, stride=stride, hidden=256, batch_norm="frozen")
    model = wanted.build(20)
    batch = _batch(source, input, model.grid((size, size)), batch_size)
    seconds: dict[str, list[float]] = {"with": [], "without": []}
    with LocalCrfPool(threads if threads > 1 else 0) as pool:
        methods = {"with": config.build(Refinement(input, pool)), "without": config.build(_Unrefined(input, pool))}
        for turn in range(rounds + 1):
            for name, method in methods.items():
                began = time.perf_counter()
                method.step(model, batch, Progress(0, 0, 0.0)).losses["loss"].backward()
                model.zero_grad(set_to_none=True)
                if turn:  # the first one starts processes and fills caches
                    seconds[name].append(time.perf_counter() - began)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    pairs = zip(seconds["with"], seconds["without"], strict=True)
    share = statistics.median((one - other) / one for one, other in pairs)
    results = {"network": network, "size": size, "stride": stride, "batch": batch_size, "threads": threads}
    results |= {"load": os.getloadavg()[0], "share": round(share, 4)}
    return results | {"seconds": {name: round(value, 3) for name, value in medians.items()}}


def _cpu_seconds() -> float:
    """Of this process and those beside it, which wait for no core as the clock does on a busy machine."""
    me = psutil.Process()
    return sum(one.cpu_times().user + one.cpu_times().system for one in [me, *me.children(recursive=True)])


class _Unrefined(Refinement):
    """Gives the probabilities back as they are."""

    def _begin(self, images: Any, logits: Any, parameters: Any, probability_unary: bool) -> list[Any]:
        pool = LocalCrfPool(0)
        return [pool.submit(np.asarray, one) for one in logits.softmax(dim=1).cpu().numpy()]


def _refined(
    pool: LocalCrfPool, pictures: Sequence[tuple[NDArray[np.uint8], NDArray[np.uint8]]]
) -> Iterator[NDArray[np.uint8]]:
    """The masks in order; as many images wait as keep the processes busy, since each holds 15 MB of probabilities."""
    waiting: deque[Any] = deque()
    for image, mask in pictures:
        waiting.append(pool.submit(refine_mask, image, _probabilities(mask), SEC_CRF))
        if len(waiting) > 2 * pool.size:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _picture(source: Source, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    example = source.load(index, saliency=False)
    if example.mask is None:
        raise SystemExit(f"{example.record.image_id} has no mask to make probabilities of")
    return example.image, example.mask


def _probabilities(mask: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What a network that is mostly right could give: (21, H, W)."""
    height, width = mask.shape
    hot = [(mask == label).astype(np.float32) for label in range(21)]
    planes = [cv2.resize(plane, (GRID, GRID), interpolation=cv2.INTER_AREA) for plane in hot]
    probs = np.stack([cv2.resize(plane, (width, height)) for plane in planes]) * SURE + (1 - SURE) / 21
    return (probs / probs.sum(0)).astype(np.float32)


def _batch(source: Source, input: InputConfig, grid: tuple[int, int], size: int) -> Batch:
    labels = read_labels(MaskLabels(), source.records, source.classes)
    dataset = SegmentationDataset(source, input, train=True, seed=0, labels=labels, grid=grid)
    return collate([dataset[index] for index in range(size)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("cores", "step"))
    parser.add_argument("root")
    parser.add_argument("--split", default="val")
    parser.add_argument("--images", type=int, default=None)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, os.cpu_count() or 1])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--network", default="mobilenet_v2")
    parser.add_argument("--size", type=int, default=321)
    parser.add_argument("--stride", type=int, default=8, choices=(8, 16))
    parser.add_argument("--json", type=Path, default=None)
    given = parser.parse_args()
    if given.what == "cores":
        result = measure_cores(given.root, given.split, given.images, given.processes)
    else:
        result = measure_step(
            given.root, given.rounds, given.batch, given.threads, given.network, given.size, given.stride
        )
    print(json.dumps(result, indent=1))
    if given.json is not None:
        given.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
