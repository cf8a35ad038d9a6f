"""The stand-in device counts what would wait on a GPU, refuses what would fail there, and computes the same numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.stand_in import DEVICE, StandInDevice

WAITS: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "item": (lambda x: x.sum().item(), "item"),
    "float": (lambda x: float(x.sum()), "item"),
    "int": (lambda x: int(x.sum()), "item"),
    "bool": (lambda x: bool(x.any()), "item"),
    "tolist": (lambda x: x.tolist(), "copy to the host"),
    "cpu": (lambda x: x.cpu(), "copy to the host"),
    "to": (lambda x: x.to("cpu"), "copy to the host"),
    "copy_": (lambda x: torch.zeros(2, 3).copy_(x), "copy to the host"),
    "equal": (lambda x: torch.equal(x, x), "equal"),
    "nonzero": (lambda x: x.nonzero(), "nonzero"),
    "where": (lambda x: torch.where(x > 1), "nonzero"),
    "unique": (lambda x: x.unique(), "unique"),
    "unique rows": (lambda x: x.unique(dim=0), "unique"),
    "mask": (lambda x: x[x > 1], "masked indexing"),
    "write by mask": (lambda x: x.clone().__setitem__(x > 1, x.new_zeros(4)), "masked indexing"),
    "masked_select": (lambda x: x.masked_select(x > 1), "masked_select"),
    "indices": (lambda x: x[torch.tensor([1, 0])], "indices on the host"),
    "upload": (lambda x: torch.ones(3).to(DEVICE), "copy to the device"),
    "tensor": (lambda x: torch.tensor([1.0], device=DEVICE), "copy to the device"),
    "new_tensor": (lambda x: x.new_tensor([1.0]), "copy to the device"),
}
SILENT: dict[str, Callable[[Tensor], Any]] = {
    "upload": lambda x: torch.ones(3).to(DEVICE, non_blocking=True),
    "download": lambda x: x.to("cpu", non_blocking=True),
    "factory": lambda x: torch.arange(3, device=x.device) + x,
    "new": lambda x: x.new_zeros(2) + torch.full((), 2.0, device=DEVICE),
    "where": lambda x: torch.where(x > 1, x, 0),
    "index": lambda x: x[x.sum(dim=1).long() * 0],
    "host number": lambda x: x * torch.tensor(2.0),
    "host only": lambda x: torch.ones(3).sum().item(),
    "shape": lambda x: len(x) + x.shape[1],
}


def _values() -> Tensor:
    return torch.arange(6.0).reshape(2, 3)


@pytest.mark.parametrize("name", WAITS)
def test_what_waits_is_counted_and_gives_its_value(name: str) -> None:
    work, kind = WAITS[name]
    with StandInDevice() as device:
        values = _values().to(DEVICE, non_blocking=True)
        work(values)
        assert [(wait.kind, times) for wait, times in device.waits.items()] == [(kind, 1)]


@pytest.mark.parametrize("name", SILENT)
def test_what_does_not_wait_is_not_counted(name: str) -> None:
    with StandInDevice() as device:
        SILENT[name](_values().to(DEVICE, non_blocking=True))
    assert not device.waits


def test_tensors_of_two_devices_do_not_mix() -> None:
    with StandInDevice():
        values = _values().to(DEVICE)
        with pytest.raises(RuntimeError, match="add: expected all tensors on one device"):
            values.add(_values())


def test_a_training_step_gives_the_numbers_of_the_host() -> None:
    def trained(device: torch.device) -> list[Tensor]:
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
        images, classes = torch.randn(5, 3, 8, 8).to(device), torch.tensor([0, 1, 1, 0, 1]).to(device)
        network.to(device)
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
        for _ in range(3):
            optimizer.zero_grad()
            functional.cross_entropy(network(images), classes).backward()
            optimizer.step()
        return [value.detach().cpu() for value in network.state_dict().values()]

    expected = trained(torch.device("cpu"))
    with StandInDevice():
        got = trained(DEVICE)
    assert all(map(torch.equal, got, expected))
