"""What a training step costs with attention, as a ratio to a plain classification step of the same network.

    python benchmarks/step_cost.py --network resnet18 --size 224 --batch 8 --rounds 15 --json step_cost.json

A step is forward and backward of one batch, without the optimiser's update. All variants share network, images and
process; each round runs every variant once, in random order. Figures are medians over rounds of process CPU time (a
shared machine does not disturb it) and wall-clock time. The two peers are measured where they are installed
(`pip install grad-cam torchcam`), on a copy of the network, as their users would call them: one map of one class an
image beside the training step, or within it where they can.
"""

from __future__ import annotations

import argparse
import copy
import json
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from attn.data.sample import Batch
from attn.losses import multilabel_soft_margin
from attn.maps import attention, pairs_of
from attn.methods.base import MethodConfig, Progress
from attn.models import ModelConfig, Network
from attn.training.allocator import keep_freed_memory

CLASSES = 20
TARGETS = {
    "plain + map": 1.05,
    "gain 1 class": 2.15,
    **{f"gain {n} classes": 1.05 * (1 + n) for n in (2, 3)},
    "attnbn": 1.10,
    "icasc": 1.65,
    "icasc, detached weights": 1.15,
}
BASES = {"attnbn": "two streams"}
"""Variants whose ratio is to another than `plain`."""


@dataclass(frozen=True)
class Case:
    """The network under test and what it is fed."""

    network: Network
    images: Tensor

    def batch(self, classes: int) -> Batch:
        """The images with a number of random classes each."""
        count = len(self.images)
        labels = torch.zeros(count, CLASSES)
        for row in range(count):
            labels[row, torch.randperm(CLASSES)[:classes]] = 1
        none = torch.zeros((0, 2), dtype=torch.int64)
        regions = self.images.new_zeros((0, *self.images.shape[2:]))
        return Batch((0,) * count, (), self.images, labels, (), none, regions)


def variants(case: Case) -> dict[str, Callable[[], object]]:
    """Everything to be measured, by name."""
    one = case.batch(1)
    results: dict[str, Callable[[], object]] = {
        "plain": lambda: _plain(case.network, one),
        "plain, deterministic": lambda: _deterministic(case.network, one),
        "plain, deterministic, memory filled": lambda: _deterministic(case.network, one, fill=True),
        "plain + map": lambda: _with_map(case.network, one),
        "plain + map (autograd)": lambda: _with_map(case.network, one, closed_form=False),
    }
    for classes in (1, 2, 3):
        results[f"gain {classes} class{'es' if classes > 1 else ''}"] = _gain(case, classes)
        results[f"gain {classes} class{'es' if classes > 1 else ''}, fixed"] = _gain(case, classes, "fixed")
    results["two streams"] = lambda: _two_streams(case.network, one)
    results["attnbn"] = _attnbn(case, one)
    results["icasc"] = _icasc(case)
    results["icasc, pixel"] = _icasc(case, map_kind="pixel")
    results["icasc, detached weights"] = _icasc(case, weight_gradient=False)
    if find_spec("pytorch_grad_cam"):
        results["plain + pytorch-grad-cam"] = _pytorch_grad_cam(case, one)
    if find_spec("torchcam"):
        results["plain + torchcam"] = _torchcam(case, one)
    return results


def measure(steps: dict[str, Callable[[], object]], network: Network, rounds: int) -> dict[str, dict[str, float]]:
    """Median and quartiles of each variant's ratio to its base in the same round, and its own median time."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in steps}
    for turn in range(rounds + 1):
        for name in random.sample(list(steps), len(steps)):
            network.zero_grad(set_to_none=True)
            cpu, wall = time.process_time(), time.perf_counter()
            steps[name]()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if turn > 0:
                times[name].append((time.process_time() - cpu, time.perf_counter() - wall))
    return {name: _summary(times[name], times[BASES.get(name, "plain")]) for name in steps}


def _summary(own: list[tuple[float, float]], plain: list[tuple[float, float]]) -> dict[str, float]:
    result: dict[str, float] = {}
    for column, kind in enumerate(("cpu", "wall")):
        mine, base = ([values[column] for values in series] for series in (own, plain))
        ratios = [a / b for a, b in zip(mine, base, strict=True)]
        quartiles = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
        result |= {
            f"{kind}_ms": 1000 * statistics.median(mine),
            f"{kind}_ratio": statistics.median(mine) / statistics.median(base),
            f"{kind}_ratio_q1": quartiles[0],
            f"{kind}_ratio_q3": quartiles[2],
        }
    return result


def _plain(network: Network, batch: Batch) -> None:
    multilabel_soft_margin(network(batch.images).logits, batch.labels).backward()


def _deterministic(network: Network, batch: Batch, *, fill: bool = False) -> None:
    """As training runs; `fill`: as torch would have it, which then fills memory before it is written."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = fill  # pyright: ignore[reportAttributeAccessIssue]
    _plain(network, batch)
    torch.use_deterministic_algorithms(False)


def _with_map(network: Network, batch: Batch, *, closed_form: bool = True) -> Tensor:
    output = network(batch.images)
    maps = attention(
        output if closed_form else output._replace(linear_weight=None), pairs_of(batch.labels), kind="grad_cam"
    )
    multilabel_soft_margin(output.logits, batch.labels).backward()
    return maps


def _gain(case: Case, classes: int, parameters: str = "all") -> Callable[[], object]:
    config = MethodConfig.members["gain"].model_validate({"name": "gain", "mining_parameters": parameters})
    method, batch = config.build(), case.batch(classes)
    return lambda: method.step(case.network, batch, Progress(epoch=1, step=0, fraction=0.0)).losses["loss"].backward()


def _two_streams(network: Network, batch: Batch) -> None:
    """Classification of two batches in one pass: what AttnBN pays for its streams."""
    multilabel_soft_margin(network(torch.cat([batch.images] * 2)).logits, torch.cat([batch.labels] * 2)).backward()


def _attnbn(case: Case, batch: Batch) -> Callable[[], object]:
    """Both streams with all four losses, the discriminator's step and its update."""
    config = MethodConfig.members["attnbn"].model_validate({"name": "attnbn", "source": {"source": "scenes"}})
    method = config.build()
    auxiliary = method.auxiliary(case.network)
    height, width = case.images.shape[2:]
    source = replace(batch, saliency=torch.rand(len(case.images), height, width))

    def step() -> None:
        parts = method.step(
            case.network, replace(batch, source_batch=source), Progress(epoch=1, step=0, fraction=0.0)
        ).losses
        parts["loss"].backward()
        parts[auxiliary.loss].backward()
        auxiliary.optimizer.step()
        auxiliary.optimizer.zero_grad(set_to_none=True)

    return step


def _icasc(case: Case, **settings: Any) -> Callable[[], object]:
    """All terms, at both layers; one class an image."""
    method = MethodConfig.members["icasc"].model_validate({"name": "icasc"} | settings).build()
    batch = case.batch(1)
    return lambda: method.step(case.network, batch, Progress(epoch=1, step=0, fraction=0.0)).losses["loss"].backward()


class _Logits(nn.Module):
    """What the peers expect of a network: logits alone."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images).logits


def _pytorch_grad_cam(case: Case, batch: Batch) -> Callable[[], object]:
    from pytorch_grad_cam import GradCAM  # pyright: ignore[reportMissingImports]
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget  # pyright: ignore[reportMissingImports]

    peer = _Logits(copy.deepcopy(case.network))
    cam = GradCAM(model=peer, target_layers=[_last_stage(peer.network)])
    targets: list[Any] = [ClassifierOutputTarget(int(index)) for index in batch.labels.argmax(dim=1)]

    def step() -> None:
        _plain(case.network, batch)
        cam(input_tensor=batch.images, targets=targets)  # pyright: ignore[reportArgumentType]

    return step


def _torchcam(case: Case, batch: Batch) -> Callable[[], object]:
    from torchcam.methods import GradCAM  # pyright: ignore[reportMissingImports]

    peer = _Logits(copy.deepcopy(case.network))
    cam = GradCAM(peer, target_layer=_last_stage(peer.network))
    classes = batch.labels.argmax(dim=1).tolist()

    def step() -> None:
        peer.zero_grad(set_to_none=True)
        logits = peer(batch.images)
        cam(classes, logits, retain_graph=True)
        multilabel_soft_margin(logits, batch.labels).backward()

    return step


def _last_stage(network: Network) -> nn.Module:
    return list(network.backbone.stages().values())[-1][-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="resnet18")
    parser.add_argument("--head", default="gap")
    parser.add_argument("--size", type=int, default=224, help="side of the input, pixels")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument(
        "--allocator",
        choices=("kept", "default"),
        default="kept",
        help="kept: as in training, freed memory is used again",
    )
    parser.add_argument("--only", default="", help="variants whose name contains this, besides plain")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    if arguments.allocator == "kept":
        keep_freed_memory()
    torch.manual_seed(0)
    random.seed(0)
    network = ModelConfig(name=arguments.network, head=arguments.head, weights=None).build(CLASSES, ("inner",))
    layout = torch.channels_last if arguments.channels_last else torch.contiguous_format
    network = network.to(memory_format=layout)  # pyright: ignore[reportCallIssue]
    images = torch.randn(arguments.batch, 3, arguments.size, arguments.size).contiguous(memory_format=layout)
    result = variants(Case(network, images))
    wanted = {name for name in result if arguments.only in name}
    wanted |= {"plain"} | {BASES[name] for name in wanted & BASES.keys()}
    chosen = {name: run for name, run in result.items() if name in wanted}
    figures = measure(chosen, network, arguments.rounds)

    print(f"{'variant':38}{'CPU ms':>9}{'ratio':>8}{'(quartiles)':>16}{'wall':>8}{'target':>8}")
    for name, row in figures.items():
        quartiles = f"({row['cpu_ratio_q1']:.2f}-{row['cpu_ratio_q3']:.2f})"
        target = f"{TARGETS[name]:.2f}" if name in TARGETS else ""
        line = f"{row['cpu_ms']:9.1f}{row['cpu_ratio']:8.3f}{quartiles:>16}{row['wall_ratio']:8.3f}{target:>8}"
        print(f"{name:38}{line}")
    if arguments.json:
        settings = {key: str(value) for key, value in vars(arguments).items()}
        arguments.json.write_text(json.dumps({"settings": settings, "figures": figures}, indent=1))


if __name__ == "__main__":
    main()
