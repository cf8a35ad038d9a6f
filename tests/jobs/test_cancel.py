"""A run that is interrupted is cancelled, not failed, whoever caught the signal first."""

from __future__ import annotations

import contextlib
import ctypes
import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from attn.config.resolve import dump_config
from attn.errors import RunError
from attn.runs.recipes import load_config
from attn.training.train_config import TrainConfig
from jobs import train
from jobs.ray_cluster import session
from jobs.ray_cluster.cancellation import checkpoint_on_sigterm
from jobs.ray_cluster.progress import Channel
from jobs.runs.run_folder import RunFolder
from jobs.runs.signals import sigterm_as_interrupt


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


@pytest.mark.parametrize("handled", [True, False], ids=["a run", "another command"])
def test_sigterm_does_the_same_after_ray_has_started(monkeypatch: pytest.MonkeyPatch, handled: bool) -> None:
    """Ray puts a handler into Python and, below it, one in C++, for which the C library's own stands in here."""
    import ray

    def rays(number: int, frame: object) -> None:
        raise SystemExit(number)

    def start(options: dict[str, Any]) -> None:
        signal.signal(signal.SIGTERM, rays)
        ctypes.CDLL(None).signal(int(signal.SIGTERM), ctypes.c_void_p(1))  # SIG_IGN: Python does not see it

    monkeypatch.setattr(session, "_start_local", start)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "shutdown", lambda: None)

    def end() -> None:
        with sigterm_as_interrupt() if handled else contextlib.nullcontext(), session.ray_session():
            signal.raise_signal(signal.SIGTERM)
            time.sleep(1)

    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with pytest.raises(KeyboardInterrupt if handled else SystemExit):
            end()
    finally:
        signal.signal(signal.SIGTERM, before)


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
