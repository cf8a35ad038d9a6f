"""A loader with worker processes that die, are stuck, or cannot transfer batches: one clear error."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
import torch

from attn.data import loader as loaders
from attn.data.dataset import AttentionDataset
from attn.data.loader import Loader, LoaderError, build_loader
from attn.data.sample import Sample
from attn.data.shared_memory import MIB, check_shared_memory
from attn.data.transforms import InputConfig
from attn.errors import DataError
from attn.files.patience import PATIENCE_VARIABLE
from attn.runs.recipes import load_config
from attn.training.train_config import TrainConfig
from tests.namespaces import skip_if_refused


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def small(size: int = 32, *, kind: type[AttentionDataset] = AttentionDataset) -> AttentionDataset:
    config = load_config(TrainConfig, "scenes_gain", ["data.count=8", "data.size=32"])
    return kind(config.data.build(), InputConfig(size=size), train=False)


class Stuck(AttentionDataset):
    """Its second batch never comes."""

    def __getitem__(self, key: Any) -> Sample:
        if key == 2:
            time.sleep(1000)
        return super().__getitem__(key)


@pytest.mark.parametrize(
    ("images", "size", "workers", "sharers", "fits"),
    [
        (16, 224, 0, 1, True),  # no processes, no memory
        (16, 224, 2, 1, True),  # 5 batches of 16 images of 588 KiB: 46 MiB
        (16, 224, 2, 2, False),
        (16, (448, 224), 2, 1, False),
        (16, 224, 4, 1, False),
    ],
)
def test_a_run_that_cannot_fit_is_refused(
    monkeypatch: pytest.MonkeyPatch, images: int, size: Any, workers: int, sharers: int, *, fits: bool
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(64 * MIB, 0, 64 * MIB))
    if fits:
        check_shared_memory(images, size, workers, sharers=sharers)
        return
    with pytest.raises(DataError, match=rf"cluster.data_workers={workers} .* has 64 MiB free: .*--shm-size"):
        check_shared_memory(images, size, workers, sharers=sharers)


def first(loader: Loader) -> Any:
    batches = iter(loader)
    assert next(batches).images.shape[0] == 2
    return batches


def test_a_worker_that_dies() -> None:
    loader = build_loader(small(), [[0, 1]] * 40, workers=1, pin=False)
    batches = first(loader)
    (worker,) = vars(loader)["_iterator"]._workers
    os.kill(worker.pid, signal.SIGBUS)
    with pytest.raises(LoaderError, match=r"failed \(.*cluster.data_workers.*--shm-size"):
        list(batches)


def test_a_worker_that_is_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    loader = build_loader(small(kind=Stuck), [[0, 1], [2, 3]], workers=1, pin=False)
    batches = first(loader)
    monkeypatch.setattr(loaders, "STUCK_SECONDS", 5.0)
    monkeypatch.setenv(PATIENCE_VARIABLE, "0")
    with pytest.raises(LoaderError, match=r"no batch for 5 seconds.*cluster.data_workers=0"):
        next(batches)
    (worker,) = vars(loader)["_iterator"]._workers
    worker.kill()


def test_a_worker_reports_a_batch_that_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: torch.Tensor) -> None:
        raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1>: No space left on device (28)")

    batch = next(iter(build_loader(small(), [[0, 1]])))
    empty = replace(batch, regions=batch.regions[:0])
    assert loaders._shared(empty).images.is_shared()
    monkeypatch.setattr(torch.Tensor, "share_memory_", refuse)
    with pytest.raises(LoaderError, match=r"does not fit into shared memory: /dev/shm has .*--shm-size"):
        loaders._shared(batch)


PROGRAM = """
from attn.data.loader import build_loader
from tests.data.test_shared_memory import small
if __name__ == "__main__":
    try:
        list(build_loader(small(256), [[0, 1, 2, 3]] * 40, workers=1, pin=False))
    except Exception as error:
        print(type(error).__name__, error)
"""


def test_a_machine_with_little_shared_memory() -> None:
    """Like Docker's default: each batch fits, but not all prefetched ones together."""
    script = 'mount -t tmpfs -o size=4m tmpfs /dev/shm && exec "$0" -c "$1"'
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, sys.executable, PROGRAM]
    english = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(command, env=english, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        skip_if_refused(done.stderr)
    assert done.stdout.startswith("LoaderError a batch of images does not fit into shared memory"), done.stderr
