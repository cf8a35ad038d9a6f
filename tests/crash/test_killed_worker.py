"""Workers that die in the middle of an epoch: the run ends with the weights and maps of an undisturbed one.

A worker is killed as soon as its checkpoint is written: the store's version is committed, Ray has not heard of it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from attn import store as map_store
from attn.config.recipes import load_config
from attn.config.train import TrainConfig
from attn.errors import RunError
from attn.models.bundle import load_bundle
from jobs.resume import resume
from jobs.train import run

pytestmark = pytest.mark.usefixtures("ray_up")


def config_for(root: Path) -> TrainConfig:
    overrides = [
        "data.count=128", "data.size=32", "input.size=32", "input.resize=crop", "model.widths=[8,16,16]",
        "training.epochs=3", "training.batch_size=16", "checkpoint.every_steps=3", "store.start_epoch=0",
        "store.gate=top_k", "cluster.workers=2", "tracking.enabled=false",
    ]  # fmt: skip
    return load_config(TrainConfig, "scenes_oaa", [*overrides, f"root={root}"])


@contextlib.contextmanager
def workers_killed_in_mid_epoch(folder: Path, *positions: tuple[int, int]) -> Iterator[list[int]]:
    """Wait for a checkpoint (epoch from 0, next batch) within an epoch, then SIGKILL one training worker; and again."""
    killed: list[int] = []
    over = threading.Event()

    def kill() -> None:
        for number, (epoch, batch) in enumerate(positions):
            name = f"epoch-{epoch:04d}-batch-{batch:06d}"
            while not (folder / "checkpoints" / name / "manifest-00000.json").exists():
                if over.wait(0.005):
                    return
            processes = psutil.Process().children(recursive=True)
            workers = sorted(process.pid for process in processes if "RayTrainWorker" in " ".join(process.cmdline()))
            killed.append(workers[number % len(workers)])
            os.kill(killed[-1], signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join()


def same(first: dict[str, Any], second: dict[str, Any]) -> bool:
    """Whether two runs ended with the same weights, bit by bit, the same figures and the same cumulative maps."""
    ours, theirs = (load_bundle(str(result["model"])).network.state_dict() for result in (first, second))
    equal = ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    digests = {map_store.open(run["store"]).at(run["store_version"]).digest() for run in (first, second)}
    return equal and first["metrics"] == second["metrics"] and len(digests) == 1


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> dict[str, Any]:
    request.getfixturevalue("ray_up")
    root = tmp_path_factory.mktemp("undisturbed")
    return run(config_for(root), run_id="calm")


def test_deaths_in_each_epoch_leave_the_weights_of_an_undisturbed_run(
    undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    """It recovers from the first by itself, the second ends it and it is resumed, and it recovers from the third.

    It begins with the undisturbed run's `config.yaml`, which repeats that run.
    """
    folder = tmp_path / "hit"
    again = load_config(
        TrainConfig, f"{undisturbed['folder']}/config.yaml", [f"root={tmp_path}", "cluster.max_failures=1"]
    )
    with workers_killed_in_mid_epoch(folder, (0, 3), (1, 4), (2, 5)) as killed:
        with pytest.raises(RunError, match="attn resume hit"):
            run(again, run_id="hit")
        state = json.loads((folder / "run.json").read_text())
        assert (len(killed), state["state"], state["attempts"]) == (2, "failed", 2)
        result = resume(str(folder))
    state = json.loads((folder / "run.json").read_text())
    assert (len(killed), state["state"], state["attempts"]) == (3, "done", 4)
    assert same(result, undisturbed)
