"""Two workers with half a batch each take the step of one process with the whole batch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from attn.data.sample import Batch
from attn.methods import MethodConfig, Progress
from attn.models import ModelConfig, Network
from tests.training.two_workers import run_two

PROGRESS = Progress(1, 0, 0.0)
LABELS = [[1, 0, 1], [0, 0, 0], [0, 1, 0], [1, 1, 1]]
# `apart`: the rows that are drawn for extra supervision alone.
CASES: list[dict[str, Any]] = [
    {"alpha": 0.0},
    {},
    {"mining_parameters": "fixed", "layer": "inner", "weight_gradient": True},
    {"extra_supervision": "masks", "layer": "inner"},
    {"extra_supervision": "masks", "apart": [1, 3]},
    {"extra_supervision": "masks", "apart": [0, 1, 2, 3]},
    {"extra_supervision": "masks", "extra_absent": True, "apart": [1, 3]},
    {"extra_supervision": "masks", "extra_absent": True},
    {"name": "icasc"},
    {"name": "icasc", "map_kind": "pixel", "weight_gradient": False},
]
# Each worker has one image that carries supervision (image 1 has no class to carry it for); then one worker has all.
SUPERVISED = [[0, 1, 2], [2, 3]]


def _network() -> Network:
    torch.manual_seed(0)
    settings = {"name": "tiny", "weights": None, "widths": (4, 6, 8), "batch_norm": "frozen"}
    return ModelConfig.model_validate(settings).build(3, ("inner",)).double()


def _batch(supervised: list[int]) -> Batch:
    torch.manual_seed(1)
    labels = torch.tensor(LABELS, dtype=torch.float64)
    pairs = labels.nonzero()
    regions = (torch.rand(len(pairs), 24, 24) > 0.5).double()
    chosen = torch.tensor([row in supervised for row in pairs[:, 0].tolist()])
    images = torch.randn(4, 3, 24, 24, dtype=torch.float64)
    return Batch((0, 1, 2, 3), (), images, labels, (), pairs[chosen], regions[chosen])


def _half(batch: Batch, rank: int) -> Batch:
    rows = slice(2 * rank, 2 * rank + 2)
    own = (batch.region_pairs[:, 0] // 2) == rank
    pairs = batch.region_pairs[own] - torch.tensor([2 * rank, 0])
    return replace(
        batch,
        images=batch.images[rows],
        labels=batch.labels[rows],
        region_pairs=pairs,
        regions=batch.regions[own],
        supervised=None if batch.supervised is None else batch.supervised[rows],
    )


def _apart(batch: Batch, settings: dict[str, Any]) -> Batch:
    if "apart" not in settings:
        return batch
    rows = torch.tensor([row in settings["apart"] for row in range(len(LABELS))])
    own = rows[batch.region_pairs[:, 0]]
    return replace(batch, supervised=rows, region_pairs=batch.region_pairs[own], regions=batch.regions[own])


def _gradients(model: Any, network: Network, batch: Batch, settings: dict[str, Any]) -> dict[str, Tensor]:
    network.zero_grad(set_to_none=True)
    settings = {"name": "gain"} | {name: value for name, value in settings.items() if name != "apart"}
    method = MethodConfig.members[settings["name"]].model_validate(settings).build()
    losses = method.step(model, batch, PROGRESS).losses
    losses["loss"].backward()
    gradients = {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}
    return gradients | {f"losses {name}": value.detach() for name, value in losses.items()}


def _worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    network = _network()
    model = DistributedDataParallel(network)
    results = []
    for supervised in SUPERVISED:
        for settings in CASES:
            gradients = _gradients(model, network, _half(_apart(_batch(supervised), settings), rank), settings)
            for name in gradients:
                if name.startswith("losses"):
                    dist.all_reduce(gradients[name])
                    gradients[name] /= 2
            results.append(gradients)
    if rank == 0:
        torch.save(results, f"{folder}/results.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def results_by_case(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Tensor]]:
    folder = tmp_path_factory.mktemp("workers")
    run_two(_worker, str(folder))
    return torch.load(Path(folder, "results.pt"), weights_only=True)


@pytest.mark.parametrize("settings", CASES, ids=str)
@pytest.mark.parametrize("supervised", SUPERVISED, ids=str)
def test_gradients_and_parts_are_those_of_the_joint_batch(
    results_by_case: list[dict[str, Tensor]], supervised: list[int], settings: dict[str, Any]
) -> None:
    got = results_by_case[SUPERVISED.index(supervised) * len(CASES) + CASES.index(settings)]
    network = _network()
    expected = _gradients(network, network, _apart(_batch(supervised), settings), settings)
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(got[name], value, rtol=1e-9, atol=1e-12, msg=name)
