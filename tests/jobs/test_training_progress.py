"""What a training tells of its steps and epochs: a bar, a line for each epoch, nothing twice."""

from __future__ import annotations

import contextlib
import io
import time
from pathlib import Path
from typing import Any

import pytest

from attn import progress
from attn.errors import RunError
from attn.progress.streams import Lines
from attn.runs.recipes import load_run
from attn.training.train_config import TrainConfig
from jobs import train
from jobs.ray_cluster.progress import TrainingProgress, epoch_figures, in_order
from jobs.training.hooks import TrainingRun


@pytest.mark.parametrize("names", [["val/mean_ap", "train/mining", "train/loss", "train/classification"],
                                   ["train/loss", "train/classification", "train/mining", "val/mean_ap"],
                                   ["train/mining", "val/mean_ap", "train/classification", "train/loss"]])  # fmt: skip
def test_an_epochs_figures_have_one_order(names: list[str]) -> None:
    ordered = in_order(dict.fromkeys(names, 0.5))
    assert list(ordered) == ["train/loss", "train/classification", "train/mining", "val/mean_ap"]


def test_the_chosen_score_is_first_in_a_short_line() -> None:
    names = ["train/loss", "train/mining", "train/classification", "val/mean_ap", "val/mean_auc", "val/seed_miou"]
    metrics = dict[str, float | None](dict.fromkeys(names, 0.5))
    assert epoch_figures(metrics, "val/seed_miou") == (
        "val/seed_miou 50.0 %  train/loss 0.5000  train/classification 0.5000  train/mining 0.5000  "
        "val/mean_ap 50.0 %  (1 more in metrics.jsonl)"
    )
    assert epoch_figures({"train/loss": 0.5, "val/miou": 0.25}, "val/miou") == "val/miou 25.0 %  train/loss 0.5000"
    assert epoch_figures(metrics, None).count("  ") == 5, "all of them, where none is chosen"
    assert epoch_figures(metrics, "val/miou") == epoch_figures(metrics, None), "an epoch that was not validated"
    stream = io.StringIO()
    with progress.shown(Lines(stream)), TrainingProgress((1, 1), "val/seed_miou") as shown:
        shown({"kind": "epoch", "epoch": 0, "epochs": 2, "step": 10, "metrics": metrics})
    assert "epoch 1/2 done: val/seed_miou 50.0 %  train/loss" in stream.getvalue()


def test_the_last_line_of_work_is_printed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, now = io.StringIO(), 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    step = {"kind": "step", "epoch": 0, "epochs": 2, "step": 9, "steps": 18, "losses": {"loss": 0.5}, "lr": 0.01,
            "images_per_second": 4.0, "seconds_left": 9.0}  # fmt: skip
    with progress.shown(Lines(stream)):
        for _ in progress.steps_of(range(2), "cues", 2, "images"):
            now += 20
        with TrainingProgress((1, 1)) as shown:
            for epoch in range(2):
                now += 20
                shown({**step, "epoch": epoch, "step": 9 * (epoch + 1)})
                now += 20  # of validation
                shown({"kind": "epoch", "epoch": epoch, "epochs": 2, "step": 9 * (epoch + 1), "metrics": {}})
    lines = [one.partition(",")[0] for one in stream.getvalue().splitlines()]
    assert [one for one in lines if one.startswith("cues")] == ["cues: 1 of 2 images (50 %)", "cues: 2 images in 40 s"]
    assert [one for one in lines if one.startswith(("training", "epoch"))] == [
        "training: 9 of 18 steps (50 %)", "epoch 1/2 done: ", "epoch 2/2 done: ", "training: 18 steps in 1 min 0 s",
    ]  # fmt: skip


def test_a_training_is_one_bar_over_all_steps_and_a_line_for_each_epoch() -> None:
    stream = io.StringIO()
    step = {"kind": "step", "epoch": 0, "epochs": 2, "step": 3, "steps": 20, "losses": {"loss": 0.5, "mining": 0.2},
            "lr": 0.01, "images_per_second": 31.25, "seconds_left": 61.0}  # fmt: skip
    with progress.shown(Lines(stream, seconds=0.0)), TrainingProgress((2, 2)) as shown:
        shown({"kind": "phase", "text": "loading data in 2 workers"})
        shown({"kind": "phase", "text": "computing the first step"})
        shown(step)
        shown({"kind": "epoch", "epoch": 0, "epochs": 2, "step": 10, "metrics": {"val/miou": 0.5}})
        shown({"kind": "epoch", "epoch": 1, "epochs": 2, "step": 20, "metrics": {"val/miou": 0.6}})
    lines = stream.getvalue().splitlines()
    assert lines[:4] == [
        "starting 2 workers ...",
        "loading data in 2 workers ...",
        "computing the first step ...",
        "training: 3 of 20 steps (15 %), 31.2 images/s, ETA 1:01, epoch 1/2  loss 0.5000 (mining 0.2000)  lr 1.00e-02",
    ]
    assert "epoch 2/2 done: val/miou 60.0 %" in lines
    assert lines[-1].startswith("training: 20 steps in ")


def test_workers_are_said_to_start_once_their_labels_are_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each stage of a start has one line, in the order in which they happen."""
    stream, stopped = io.StringIO(), RunError("of the test")

    def prepare(run: TrainingRun[TrainConfig]) -> TrainConfig:
        list(progress.steps_of(range(2), "cues", 2, "images"))
        return run.config

    def fit(*_: Any, **__: Any) -> None:
        raise stopped

    monkeypatch.setattr(train, "ray_session", lambda address: progress.task("starting Ray"))
    monkeypatch.setattr(train, "follow", lambda *_: contextlib.nullcontext())
    monkeypatch.setattr(train, "_fit", fit)
    monkeypatch.setattr("jobs.training.classifier.prepare", prepare)
    monkeypatch.setattr("attn.data.source_cache.PATIENCE_SECONDS", 0.0)
    changes = ["data.count=4", "data.size=32", "input.size=32", "tracking.enabled=false", f"root={tmp_path}"]
    with progress.shown(Lines(stream)), pytest.raises(RunError, match="of the test"):
        train.run(load_run("scenes_grad_cam", "train", changes))
    lines = [line.partition(" in 0")[0] for line in stream.getvalue().splitlines()]
    assert lines == [
        "loading data: scenes train ...", "loading data: scenes val ...", "starting Ray ...", "cues: 2 images",
        "starting 2 workers ...",
    ]  # fmt: skip


def test_what_a_command_begins_with_is_shown_until_it_reports_other_work(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr("attn.progress.view.QUIET_SECONDS", 0.05)

    def wait() -> None:
        limit = time.monotonic() + 20
        while stream.getvalue().count("\n") < 1 and time.monotonic() < limit:
            time.sleep(0.01)

    with progress.shown(Lines(stream, life=0.05)):
        with progress.opening("loading libraries"):
            wait()
            with progress.task("starting Ray", patience=60.0):
                seen = stream.getvalue()
                time.sleep(0.2)
        with progress.opening("loading more"):
            pass  # too quick to be told
        time.sleep(0.2)
    assert stream.getvalue() == seen
    assert seen.startswith("loading libraries ...\n")
