"""A run's record, read back from a real SQLite file and a real server."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from attn.config.base import Config
from attn.errors import TrackingError
from attn.tracking import (
    DataUsed,
    NullTracker,
    RunDescription,
    TrackingConfig,
    attach,
    create_run,
    run_params,
    terminate,
)


class Inner(Config):
    lr: float = 0.1
    steps: tuple[int, ...] = (1, 2)
    note: str = ""


class Run(Config):
    seed: int = 3
    inner: Inner = Inner()


@pytest.fixture(params=["sqlite", "server"])
def tracking(request: pytest.FixtureRequest) -> TrackingConfig:
    uri = request.getfixturevalue("mlflow_server") if request.param == "server" else None
    return TrackingConfig(uri=uri, experiment="test")


@pytest.fixture
def read(tracking: TrackingConfig, tmp_path: Path) -> Callable[[str], Any]:
    """A run as MLflow's own client sees it."""
    from mlflow import MlflowClient

    from attn.tracking.address import tracking_uri

    client = MlflowClient(tracking_uri(tracking, str(tmp_path)))

    def get(run_id: str) -> Any:
        run: Any = client.get_run(run_id)
        run.history = lambda key: [(m.step, m.value) for m in client.get_metric_history(run_id, key)]
        run.experiment = client.get_experiment(run.info.experiment_id)
        run.files = lambda path=None: sorted(item.path for item in client.list_artifacts(run_id, path))
        run.text = lambda path: Path(client.download_artifacts(run_id, path, str(tmp_path))).read_text()
        return run

    return get


def test_a_run_is_recorded_from_start_to_end(
    tracking: TrackingConfig, tmp_path: Path, read: Callable[[str], Any]
) -> None:
    root = str(tmp_path)
    config = Run(inner=Inner(lr=0.2, note="x" * 9000))
    described = RunDescription(
        run_params(config, Run(inner=Inner(steps=(3,)))),
        text="**Paper:** Li et al.",
        program="attn train",
        data=(DataUsed("scenes", "train", 64, "0123456789abcdef" * 4),),
    )
    run_id = create_run(tracking, root, "gain-1", config, described, tags={"attn.method": "gain"})
    assert run_id is not None
    tracker = attach(tracking, root, run_id)
    tracker.log_metrics({"loss": 1.0, "count": 3}, 1)
    tracker.log_metrics({"loss": np.float32(0.5)}, 2)
    tracker.log_preview("2007_000033", np.zeros((8, 9, 3), np.uint8), 1)
    tracker.log_preview("2007_000033", np.zeros((8, 9, 3), np.uint8), 2)
    tracker.log_picture("curves/seed.png", np.zeros((8, 9, 3), np.uint8))
    (tmp_path / "extra").mkdir()
    (tmp_path / "extra" / "a.txt").write_text("a")
    tracker.log_files(tmp_path / "extra", "more")
    tracker.log_files(tmp_path / "extra" / "a.txt")
    tracker.log_text("note.txt", "hello")
    terminate(tracking, root, run_id, "done")
    assert read(run_id).data.metrics == {}, "metrics wait for the flush"
    tracker.flush()

    run = read(run_id)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == run.data.tags["attn.run_id"] == "gain-1"
    assert run.data.tags["attn.method"] == "gain"
    assert run.data.params == {"seed": "3", "inner.lr": "0.2", "inner.steps": "[1, 2]", "inner.note": "x" * 6000}
    assert run.data.tags["mlflow.note.content"] == "**Paper:** Li et al."
    assert run.data.tags["mlflow.source.name"] == "attn train"
    assert run.data.tags.get("attn.commit", "").startswith(run.data.tags.get("mlflow.source.git.commit", ""))
    (used,) = run.inputs.dataset_inputs
    assert (used.dataset.name, used.dataset.digest) == ("scenes train", "0123456789ab")
    assert json.loads(used.dataset.profile) == {"num_rows": 64, "fingerprint": "0123456789abcdef" * 4}
    assert [(tag.key, tag.value) for tag in used.tags] == [("mlflow.data.context", "train")]
    assert run.experiment.tags["mlflow.experimentKind"] == "custom_model_development"
    assert "x" * 9000 in run.text("config.yaml")
    assert json.loads(run.text("environment.json"))["packages"]["torch"]
    assert run.history("loss") == [(1, 1.0), (2, 0.5)]
    assert run.history("count") == [(1, 3.0)]
    assert sum(name.endswith(".png") for name in run.files("images")) == 2
    assert run.files("curves") == ["curves/seed.png"]
    assert run.files("more") == ["more/a.txt"]
    assert {"a.txt", "note.txt"} <= set(run.files())


@pytest.mark.parametrize(
    ("kind", "after"),
    [
        (None, "custom_model_development"),
        ("genai_development_inferred", "custom_model_development"),
        ("genai_development", "genai_development"),
    ],
)
def test_an_experiment_without_a_chosen_kind_becomes_one_of_training(
    tmp_path: Path, kind: str | None, after: str
) -> None:
    from mlflow import MlflowClient

    tracking = TrackingConfig(uri=f"sqlite:///{tmp_path}/{kind}.db", experiment="theirs")
    client = MlflowClient(tracking.uri)
    experiment = client.create_experiment("theirs", tags={"mlflow.experimentKind": kind} if kind else {})
    create_run(tracking, str(tmp_path), "a", Run())
    assert client.get_experiment(experiment).tags["mlflow.experimentKind"] == after


def test_two_runs_in_one_process_do_not_mix(
    tracking: TrackingConfig, tmp_path: Path, read: Callable[[str], Any]
) -> None:
    ids = [create_run(tracking, str(tmp_path), name, Run()) for name in ("a", "b")]
    trackers = [attach(tracking, str(tmp_path), run_id) for run_id in ids]
    for value, tracker in enumerate(trackers):
        tracker.log_metrics({"loss": float(value)}, 0)
    for tracker, state in zip(trackers, ("failed", "cancelled"), strict=True):
        tracker.terminate(state)
    for value, (run_id, status) in enumerate(zip(ids, ("FAILED", "KILLED"), strict=True)):
        assert run_id is not None
        run = read(run_id)
        assert run.history("loss") == [(0, float(value))]
        assert run.info.status == status


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "0.5", True, None])
def test_a_metric_that_is_not_finite_is_refused_by_name(tmp_path: Path, value: Any) -> None:
    tracker = attach(TrackingConfig(), str(tmp_path), "some-run")
    with pytest.raises(ValueError, match="metric train/loss"):
        tracker.log_metrics({"fine": 1.0, "train/loss": value}, 0)


def test_more_metrics_than_one_request_takes(
    tracking: TrackingConfig, tmp_path: Path, read: Callable[[str], Any]
) -> None:
    run_id = create_run(tracking, str(tmp_path), "many", Run())
    assert run_id is not None
    tracker = attach(tracking, str(tmp_path), run_id)
    for step in range(2100):
        tracker.log_metrics({"loss": float(step)}, step)
    tracker.flush()
    assert len(read(run_id).history("loss")) == 2100


def test_artifacts_of_an_sqlite_record_are_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    create_run(TrackingConfig(), str(tmp_path / "runs"), "a", Run())
    assert list((tmp_path / "runs" / "mlflow-artifacts").rglob("config.yaml"))
    assert not list(elsewhere.iterdir())


def test_a_missing_server_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match=r"http://127\.0\.0\.1:9.*tracking\.enabled=false"):
        create_run(TrackingConfig(uri="http://127.0.0.1:9"), str(tmp_path), "a", Run())


def test_metrics_that_could_not_be_sent_are_kept(tmp_path: Path) -> None:
    from attn.tracking.mlflow_client import short_timeouts

    tracker = attach(TrackingConfig(uri="http://127.0.0.1:9"), str(tmp_path), "some-run")
    tracker.log_metrics({"loss": 1.0}, 0)
    for _ in range(2):
        with short_timeouts(), pytest.raises(TrackingError, match="recording metrics"):
            tracker.flush()


def test_without_tracking_nothing_is_kept(tmp_path: Path) -> None:
    off = TrackingConfig(enabled=False)
    assert create_run(off, str(tmp_path), "a", Run()) is None
    tracker = attach(off, str(tmp_path), "some-run")
    assert isinstance(tracker, NullTracker)
    assert isinstance(attach(TrackingConfig(), str(tmp_path), None), NullTracker)
    tracker.log_metrics({"loss": 1.0}, 0)
    tracker.terminate("done")
    assert not list(tmp_path.iterdir())
