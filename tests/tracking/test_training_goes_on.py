"""A training with a tracking server that is down for some epochs: every metric and preview is stored exactly once."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from attn.config.resolve import dump_config, resolve
from attn.errors import TrackingError
from attn.runs.sweep.config import Objective
from attn.tracking import terminate
from attn.tracking.mlflow_client import DEFAULT_TIMEOUTS, QUIET_SETTINGS
from attn.training.train_config import TrainConfig
from jobs.runs.run_folder import RunFolder
from jobs.sweeps.trial_training import train_here
from jobs.train import resume
from jobs.training.hooks import TrainingRun
from tests.tracking.stand_in import StandIn

EPOCHS = 3


def test_a_training_continues_without_its_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*DEFAULT_TIMEOUTS, *QUIET_SETTINGS):
        monkeypatch.setenv(name, os.environ.get(name, ""))
        monkeypatch.delenv(name)
    monkeypatch.setattr(
        "jobs.ray_cluster.progress.Channel.mark_under_way", lambda channel: None
    )  # there is no Ray to note it in
    server = StandIn()
    server.start()
    overrides = [
        f"root={tmp_path}", f"tracking.uri={server.uri}", "tracking.preview_images=2", f"training.epochs={EPOCHS}",
        "model.name=tiny", "model.weights=null", "data.count=16", "data.size=32", "input.size=32",
        "training.batch_size=8",
    ]  # fmt: skip
    config = resolve(TrainConfig, "method: {name: grad_cam}\ndata: {source: scenes, split: train}", "test", overrides)
    folder = RunFolder(config.root, "run")
    folder.update(tracking_run=server.run)

    def tell(epoch: int, metrics: dict[str, float], last: bool) -> None:
        if epoch == 1:
            server.stop()

    train_here(
        config, TrainingRun(config, folder), Objective(metric="train/loss", mode="min"), tell, start=None, threads=1
    )
    with pytest.raises(TrackingError, match=f"attn resume {folder.uri}"):
        terminate(config.tracking, config.root, server.run, "done", folder.uri)
    assert {step for _, _, _, step in server.metrics} == {2}, "of the first epoch, which has two steps"

    server.start()
    folder.write("config.yaml", dump_config(config))
    folder.update(kind="train", state="done", seconds=9.0, model=folder.path("model"))
    assert resume(folder.uri).seconds == 9.0, "the run is done, and is not done again"
    server.stop()
    lines = [json.loads(line) for line in folder.read("metrics.jsonl").decode().splitlines()]
    sent = Counter((name, step) for name, _, _, step in server.metrics)
    assert set(sent.values()) == {1}
    for line in lines:
        for name in line.keys() - {"epoch", "step", "seconds"}:
            assert sent[name, line["step"]] == 1, name
    previews = Counter(name.partition("+timestamp")[0] for name in server.files if name.endswith(".png"))
    assert len(previews) == 2 * (1 + EPOCHS), "before training, and after each epoch"
    assert set(previews.values()) == {1}
    assert [end["status"] for end in server.ends] == ["FINISHED"]
    assert not folder.exists("tracking/journal.jsonl")
