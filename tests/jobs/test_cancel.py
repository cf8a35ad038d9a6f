"""A run that is interrupted is cancelled, not failed, whoever caught the signal first."""

from __future__ import annotations

import contextlib
import json
import signal
from pathlib import Path
from typing import Any

import pytest

from attn.config.resolve import dump_config
from attn.errors import RunError
from attn.runs.recipes import load_config
from attn.training.train_config import TrainConfig
from jobs import train
from jobs.ray_cluster.cancellation import checkpoint_on_sigterm
from jobs.ray_cluster.progress import Channel
from jobs.runs.run_folder import RunFolder


@pytest.mark.parametrize("interruption", [KeyboardInterrupt(), SystemExit(1)])
def test_an_interrupted_run_is_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interruption: BaseException
) -> None:
    def fit(*arguments: Any, **options: Any) -> None:
        raise interruption

    monkeypatch.setattr(train, "ray_session", lambda address: contextlib.nullcontext())
    monkeypatch.setattr(train, "_fit", fit)
    overrides = [f"root={tmp_path}", "data.count=40", "tracking.enabled=false"]
    with pytest.raises(KeyboardInterrupt, match=f"run 'r' is cancelled; `attn resume r --root {tmp_path}` continues"):
        train.run(load_config(TrainConfig, "scenes_grad_cam", overrides), run_id="r")
    assert json.loads((tmp_path / "r" / "run.json").read_text())["state"] == "cancelled"


@pytest.mark.usefixtures("ray_up")
def test_a_run_told_to_end_in_its_last_step_is_cancelled() -> None:
    channel = Channel("late")

    def last_step() -> None:
        with checkpoint_on_sigterm(channel):
            channel.mark_under_way()
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        last_step()


@pytest.mark.parametrize("attempts", ["x", -1, 1.5, [1]])
def test_a_count_of_attempts_that_is_none_is_one_error(tmp_path: Path, attempts: object) -> None:
    folder = RunFolder(str(tmp_path), "r")
    folder.write("run.json", json.dumps({"id": "r", "kind": "train", "state": "failed", "attempts": attempts}))
    with pytest.raises(RunError, match=r"r/run\.json is damaged and says nothing of the run: attempts"):
        train.resume(str(tmp_path / "r"))


def test_a_run_whose_checkpoints_are_gone_does_not_begin_anew(tmp_path: Path) -> None:
    folder = RunFolder(str(tmp_path), "r")
    config = load_config(TrainConfig, "scenes_grad_cam", [f"root={tmp_path}", "tracking.enabled=false"])
    folder.write("config.yaml", dump_config(config))
    folder.update(kind="train", state="failed", epoch=3)
    with pytest.raises(RunError, match="has reached epoch 3, but .*r/checkpoints holds no checkpoint"):
        train.resume(str(tmp_path / "r"))
    assert folder.state().state == "failed"
