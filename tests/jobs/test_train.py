"""The training job with real Ray workers: what it leaves, what repeats it, and what stops it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from mlflow import MlflowClient

from attn import store as map_store
from attn.errors import RunError
from attn.models.bundle import load_bundle
from attn.runs.recipes import load_config
from attn.tracking.sqlite import sqlite_uri
from attn.training.checkpoint import load_shared
from attn.training.train_config import TrainConfig
from jobs import train
from jobs.resume import resume
from jobs.runs.checkpoints import newest_checkpoint
from jobs.runs.run_folder import RunFolder
from jobs.train import TrainResult, run
from tests.crash.killing import workers_killed_in_mid_epoch
from tests.jobs.here import fit_here

pytestmark = pytest.mark.usefixtures("ray_up")


def load(quick: list[str], root: str | Path, *more: str) -> TrainConfig:
    return load_config(TrainConfig, "scenes_gain", [*quick, f"root={root}", *more])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> TrainResult:
    """A finished run of two workers that accumulates, below a folder whose name means something else in a URI."""
    request.getfixturevalue("ray_up")
    root = tmp_path_factory.mktemp("runs") / "job%2Fmain of?x=1#größe"
    overrides = [
        "data.count=128", "data.size=32", "input.size=32", "input.resize=crop", "model.widths=[8,16,16]",
        "training.epochs=3", "training.batch_size=16", "method.warmup_epochs=1", "checkpoint.every_steps=3",
        "store.accumulate=true", "store.start_epoch=0", "store.gate=top_k", "cluster.workers=2",
        "tracking.preview_images=2", "tracking.log_every_steps=1", "checkpoint.best=train/mining", f"root={root}",
    ]  # fmt: skip
    return run(load_config(TrainConfig, "scenes_gain", overrides), run_id="first")


def test_leaves_model_scores_pictures_and_config(finished: TrainResult) -> None:
    folder = Path(str(finished.folder))
    bundle = load_bundle(str(finished.model))
    logits = bundle.network(torch.zeros(1, 3, 32, 32)).logits
    assert logits.shape == (1, len(bundle.classes))
    state = json.loads((folder / "run.json").read_text())
    assert (state["state"], state["attempts"], state["epoch"]) == ("done", 1, 3)
    epochs = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in epochs] == [1, 2, 3]
    assert {"train/loss", "train/classification", "train/mining", "val/mean_ap"} <= epochs[2].keys()
    assert len(list(folder.glob("preview/*/epoch-0003.png"))) == 2
    kept = {path.name for path in (folder / "checkpoints").glob("epoch-*")}
    # Two epochs that were the best one when they ended; not the newer checkpoints within an epoch.
    assert kept == {"epoch-0002-batch-000000", "epoch-0003-batch-000000"}
    best = min(epochs[1:], key=lambda line: line["train/mining"])  # the first epoch is a warm-up
    assert state["best"] == {"metric": "train/mining", "epoch": best["epoch"], "value": best["train/mining"]}


def test_the_record_has_parameters_metrics_previews_and_model(finished: TrainResult) -> None:
    root = Path(str(finished.folder)).parent
    client = MlflowClient(sqlite_uri(root / "mlflow.db"))
    record = client.get_run(str(finished.tracking_run))
    assert record.info.status == "FINISHED"
    assert record.data.params["method"] == "gain"
    assert record.data.metrics["train/images_per_second"] > 0
    assert 0 < record.data.metrics["train/waiting_for_data"] < 1
    assert "val/mean_ap" in record.data.metrics
    inputs: Any = record.inputs
    (data,) = inputs.dataset_inputs
    assert json.loads(data.dataset.profile)["num_rows"] == 128
    pictures = [item.path for item in client.list_artifacts(record.info.run_id, "images") if item.path.endswith("png")]
    previews = [int(path.split("+step+")[1].partition("+")[0]) for path in pictures]
    assert sorted(previews) == [0, 0, 1, 1, 2, 2, 3, 3], "before training, and after each epoch"
    steps = client.get_metric_history(record.info.run_id, "step/loss")
    assert [metric.step for metric in steps] == list(range(1, 25))
    names = {artifact.path for artifact in client.list_artifacts(record.info.run_id)}
    assert {"config.yaml", "environment.json"} <= names


def same(first: TrainResult, second: TrainResult) -> bool:
    """Whether two runs ended with the same weights, bit by bit, the same figures and the same cumulative maps."""
    ours, theirs = (load_bundle(str(result.model)).network.state_dict() for result in (first, second))
    equal = ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    digests = {map_store.open(run.store).at(run.store_version).digest() for run in (first, second)}
    return equal and first.metrics == second.metrics and len(digests) == 1


def test_deaths_in_each_epoch_leave_the_weights_of_an_undisturbed_run(finished: TrainResult, tmp_path: Path) -> None:
    """It recovers from the first by itself, and the second ends it and it is resumed.

    It begins with the undisturbed run's `config.yaml`, which repeats that run.
    """
    folder = tmp_path / "hit"
    calm = ["tracking.enabled=false", f"root={tmp_path}", "cluster.max_failures=1"]
    again = load_config(TrainConfig, f"{finished.folder}/config.yaml", calm)
    with workers_killed_in_mid_epoch(folder, (0, 3), (1, 4)) as killed:
        with pytest.raises(RunError, match=f"`attn resume hit --root {tmp_path}` continues from"):
            run(again, run_id="hit")
        state = json.loads((folder / "run.json").read_text())
        assert (len(killed), state["state"], state["attempts"]) == (2, "failed", 2)
        _, checkpoint = load_shared(newest_checkpoint(RunFolder.of(str(folder), str(tmp_path)), tmp_path / "unused"))
        assert map_store.open(state["store"]).at().version == checkpoint["store_version"] > 0
        result = resume(str(folder))
    state = json.loads((folder / "run.json").read_text())
    assert (len(killed), state["state"], state["attempts"]) == (2, "done", 3)
    assert same(result, finished)


def test_a_taken_id_is_refused(finished: TrainResult, quick: list[str]) -> None:
    with pytest.raises(RunError, match="`attn resume first --root "):
        run(load(quick, Path(str(finished.folder)).parent), run_id="first")


def test_resuming_a_finished_run_returns_its_result(finished: TrainResult) -> None:
    again = resume(str(finished.folder))
    assert again.metrics == finished.metrics


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
