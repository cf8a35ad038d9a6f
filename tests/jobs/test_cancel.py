"""A run that is interrupted is cancelled, not failed, whoever caught the signal first."""

from __future__ import annotations

import contextlib
import json
import signal
from pathlib import Path
from typing import Any

import pytest

from attn.config.recipes import load_config
from attn.config.train import TrainConfig
from jobs import train
from jobs.cancellation import checkpoint_on_sigterm
from jobs.progress import Channel


@pytest.mark.parametrize("interruption", [KeyboardInterrupt(), SystemExit(1)])
def test_an_interrupted_run_is_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interruption: BaseException
) -> None:
    def fit(*arguments: Any, **options: Any) -> None:
        raise interruption

    monkeypatch.setattr(train, "ray_session", lambda address: contextlib.nullcontext())
    monkeypatch.setattr(train, "_fit", fit)
    overrides = [f"root={tmp_path}", "data.count=40", "tracking.enabled=false"]
    with pytest.raises(KeyboardInterrupt, match=f"run 'r' is cancelled; `attn resume {tmp_path}/r` goes on"):
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
