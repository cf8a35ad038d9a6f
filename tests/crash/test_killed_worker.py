"""A worker that dies in the middle of an epoch: the run recovers, and ends with the weights of an undisturbed one."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from attn.config.recipes import load_config
from attn.config.train import TrainConfig
from attn.errors import RunError
from attn.models.bundle import load_bundle
from jobs.train import resume, run

pytestmark = pytest.mark.usefixtures("ray_up")


def config_for(root: Path, quick: list[str], *more: str) -> TrainConfig:
    overrides = [*quick, "data.count=128", "training.epochs=3", "checkpoint.every_steps=3", "tracking.enabled=false"]
    return load_config(TrainConfig, "scenes_gain", [*overrides, f"root={root}", *more])


def kill_a_worker_in_mid_epoch(folder: Path, killed: list[int], position: tuple[int, int]) -> None:
    """Wait for a checkpoint (epoch from 0, next batch) within an epoch, then SIGKILL one training worker."""
    name = f"epoch-{position[0]:04d}-batch-{position[1]:06d}"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if (folder / "checkpoints" / name / "manifest-00000.json").exists():
            break
        time.sleep(0.005)
    else:
        return
    for process in psutil.Process().children(recursive=True):
        if "RayTrainWorker" in " ".join(process.cmdline()):
            os.kill(process.pid, signal.SIGKILL)
            killed.append(process.pid)
            return


def same(first: dict[str, Any], second: dict[str, Any]) -> bool:
    """Whether two runs ended with the same weights, bit by bit, and the same figures."""
    ours, theirs = (load_bundle(str(result["model"])).network.state_dict() for result in (first, second))
    equal = ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    return equal and first["metrics"] == second["metrics"]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> dict[str, Any]:
    request.getfixturevalue("ray_up")
    root = tmp_path_factory.mktemp("undisturbed")
    quick = ["data.size=32", "input.size=32", "training.batch_size=16", "method.warmup_epochs=1", "cluster.workers=2"]
    return run(config_for(root, quick), run_id="calm")


def test_recovers_by_itself_to_the_same_weights(undisturbed: dict[str, Any], quick: list[str], tmp_path: Path) -> None:
    killed: list[int] = []
    thread = threading.Thread(target=kill_a_worker_in_mid_epoch, args=(tmp_path / "hit", killed, (1, 4)))
    thread.start()
    result = run(config_for(tmp_path, quick), run_id="hit")
    thread.join()
    assert killed
    assert json.loads((tmp_path / "hit/run.json").read_text())["attempts"] == 2
    assert same(result, undisturbed)


def test_resumes_from_the_command_line_to_the_same_weights(
    undisturbed: dict[str, Any], quick: list[str], tmp_path: Path
) -> None:
    killed: list[int] = []
    thread = threading.Thread(target=kill_a_worker_in_mid_epoch, args=(tmp_path / "lost", killed, (1, 4)))
    thread.start()
    with pytest.raises(RunError, match="attn resume lost"):
        run(config_for(tmp_path, quick, "cluster.max_failures=0"), run_id="lost")
    thread.join()
    assert killed
    assert json.loads((tmp_path / "lost/run.json").read_text())["state"] == "failed"
    assert same(resume(str(tmp_path / "lost")), undisturbed)
