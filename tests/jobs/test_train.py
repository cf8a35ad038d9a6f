"""The training job with real Ray workers: what it leaves, and what stops it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from mlflow import MlflowClient

from attn.config.recipes import load_config
from attn.config.train import TrainConfig
from attn.errors import RunError
from attn.models.bundle import load_bundle
from attn.tracking.sqlite import sqlite_uri
from jobs import train
from jobs.train import resume, run
from tests.jobs.here import fit_here

pytestmark = pytest.mark.usefixtures("ray_up")


def load(quick: list[str], root: str | Path, *more: str) -> TrainConfig:
    return load_config(TrainConfig, "scenes_gain", [*quick, f"root={root}", *more])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> dict[str, object]:
    """A finished run of two workers, below a folder whose name means something else in a URI."""
    request.getfixturevalue("ray_up")
    root = tmp_path_factory.mktemp("runs") / "job%2Fmain of?x=1#größe"
    overrides = [
        "data.count=64", "data.size=32", "input.size=32", "training.epochs=2", "training.batch_size=16",
        "method.warmup_epochs=1", "cluster.workers=2", "tracking.preview_images=2", "tracking.log_every_steps=1",
        f"root={root}",
    ]  # fmt: skip
    return run(load_config(TrainConfig, "scenes_gain", overrides), run_id="first")


def test_leaves_model_scores_pictures_and_config(finished: dict[str, object]) -> None:
    folder = Path(str(finished["folder"]))
    bundle = load_bundle(str(finished["model"]))
    logits = bundle.network(torch.zeros(1, 3, 32, 32)).logits
    assert logits.shape == (1, len(bundle.classes))
    state = json.loads((folder / "run.json").read_text())
    assert (state["state"], state["attempts"], state["epoch"]) == ("done", 1, 2)
    epochs = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in epochs] == [1, 2]
    assert {"train/loss", "train/classification", "train/mining", "val/mAP"} <= epochs[1].keys()
    assert len(list(folder.glob("preview/*/epoch-0002.png"))) == 2


def test_the_record_has_parameters_metrics_previews_and_model(finished: dict[str, object]) -> None:
    root = Path(str(finished["folder"])).parent
    client = MlflowClient(sqlite_uri(root / "mlflow.db"))
    record = client.get_run(str(finished["tracking_run"]))
    assert record.info.status == "FINISHED"
    assert record.data.params["method.name"] == "gain"
    assert "val/mAP" in record.data.metrics
    steps = client.get_metric_history(record.info.run_id, "step/loss")
    assert [metric.step for metric in steps] == list(range(1, 9))
    names = {artifact.path for artifact in client.list_artifacts(record.info.run_id)}
    assert {"config.yaml", "environment.json"} <= names


def test_a_taken_id_is_refused(finished: dict[str, object], quick: list[str]) -> None:
    with pytest.raises(RunError, match="attn resume first"):
        run(load(quick, Path(str(finished["folder"])).parent), run_id="first")


def test_resuming_a_finished_run_returns_its_result(finished: dict[str, object]) -> None:
    again = resume(str(finished["folder"]))
    assert again["metrics"] == finished["metrics"]


def test_a_loss_that_is_not_finite_stops_before_the_update(
    quick: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "_fit", fit_here)
    with pytest.raises(
        RunError, match=r"loss = (nan|inf|-inf).* at epoch \d, step \d+, images train-.*update was not made"
    ):
        run(load(quick, tmp_path, "optimizer.lr=1e30", "tracking.enabled=false"), run_id="diverges")
    assert json.loads((tmp_path / "diverges/run.json").read_text())["state"] == "failed"


def test_more_workers_than_cores_are_refused_at_once(quick: list[str], tmp_path: Path) -> None:
    with pytest.raises(RunError, match="more cores than"):
        run(load(quick, tmp_path, "cluster.workers=400", "training.batch_size=400", "tracking.enabled=false"))
