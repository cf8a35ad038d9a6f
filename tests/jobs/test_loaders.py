"""How many processes load images: `cluster.data_workers=auto` by the device, its cores and the shared memory."""

from __future__ import annotations

import os
import shutil
from typing import NamedTuple

import pytest
import torch

from attn.data.shared_memory import MIB
from attn.errors import DataError
from attn.runs.recipes import load_any_config, load_config
from attn.training.train_config import TrainConfig
from attn.training.world import World
from jobs.runs.same_run import as_before, changed_fields
from jobs.training.worker import with_loaders


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.mark.parametrize(
    ("given", "device", "threads", "sharers", "megabytes", "expected"),
    [
        ("auto", "cpu", 8, 1, 64, 0),
        ("auto", "cuda", 8, 1, 2**20, 4),
        ("auto", "cuda", 5, 1, 2**20, 4),
        ("auto", "cuda", 3, 1, 2**20, 2),
        ("auto", "cuda", 1, 1, 2**20, 0),
        # A batch is 8 x 3 x 256 x 256 numbers of 4 bytes, 6 MiB; each process holds two, and one is in use.
        ("auto", "cuda", 8, 1, 64, 4),
        ("auto", "cuda", 8, 2, 64, 2),
        ("auto", "cuda", 8, 4, 64, 0),
        (0, "cuda", 8, 1, 2**20, 0),
        (7, "cuda", 2, 1, 2**20, 7),
        (3, "cpu", 2, 1, 2**20, 3),
    ],
)
def test_processes_that_load_images(
    monkeypatch: pytest.MonkeyPatch,
    given: int | str,
    device: str,
    threads: int,
    sharers: int,
    megabytes: int,
    expected: int,
) -> None:
    usage = Usage(megabytes * MIB, 0, megabytes * MIB)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    monkeypatch.setattr(os.path, "isdir", lambda _: True)
    fields = [f"cluster.data_workers={given}", "input.size=256", "training.batch_size=16", "cluster.workers=2"]
    config = load_config(TrainConfig, "scenes_gain", fields)
    settled = with_loaders(config, World(0, 2, torch.device(device)), threads, sharers)
    assert settled.cluster.loaders == settled.cluster.data_workers == expected


def test_a_number_that_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(64 * MIB, 0, 64 * MIB))
    monkeypatch.setattr(os.path, "isdir", lambda _: True)
    config = load_config(TrainConfig, "scenes_gain", ["cluster.data_workers=8", "input.size=512"])
    with pytest.raises(DataError, match="cluster.data_workers=8 needs"):
        with_loaders(config, World(0, 1, torch.device("cpu")), 8, 1)


def test_a_run_of_before_is_the_same_run_under_the_defaults_of_now() -> None:
    config = load_config(TrainConfig, "scenes_gain", [])
    before = config.model_dump(mode="json")
    before["training"]["deterministic"], before["cluster"]["data_workers"] = True, 0
    assert changed_fields(config, before) == []
    before["training"]["deterministic"] = False
    assert changed_fields(config, before) == ["training.deterministic"]


def test_a_second_round_of_before_is_the_same_one_under_the_defaults_of_now() -> None:
    values = load_any_config("dsrg_voc_paper", []).model_dump(mode="json")
    assert values["retrain"]["training"]["deterministic"] == "auto"
    assert as_before(values)["retrain"]["training"]["deterministic"] is True


@pytest.mark.parametrize(("given", "on"), [("auto", {"cpu"}), ("true", {"cpu", "cuda"}), ("false", set[str]())])
def test_where_operations_are_reproducible(given: str, on: set[str]) -> None:
    training = load_config(TrainConfig, "scenes_gain", [f"training.deterministic={given}"]).training
    assert {device for device in ("cpu", "cuda") if training.is_deterministic(device)} == on
