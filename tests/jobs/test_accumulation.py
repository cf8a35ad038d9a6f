"""The training job with a map store: a worker of Ray with everything on S3, and this process with all on this disk.

That two workers leave the maps of one is in `tests/training/test_accumulation_workers.py`.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
from collections import Counter
from pathlib import Path
from typing import Any

import boto3
import pytest

from attn import progress
from attn import store as map_store
from attn.errors import RunError
from attn.runs.recipes import load_config
from attn.runs.sweep.config import Objective
from attn.store import FencedError, Session, StoreError
from attn.training.accumulation import Accumulator
from attn.training.run_config import RunConfig
from attn.training.train_config import TrainConfig
from jobs import evaluate, train
from jobs.ray_cluster.merge_tasks import ray_map
from jobs.runs.run_folder import RunFolder
from jobs.scoring.targets import StoreTarget
from jobs.sweeps.trial_training import TrialStopped, train_here
from jobs.train import TrainResult, run
from jobs.training.hooks import TrainingRun, hooks_of
from tests.conftest import S3_KEYS
from tests.jobs.counts import counted
from tests.jobs.here import fit_here
from tests.leaks import in_bucket, leaks, session_logs, under
from tests.s3.proxy import Action, Fault, Proxy
from tests.store.alike import assert_alike
from tests.test_warnings import use_what_is_deprecated

pytestmark = pytest.mark.usefixtures("ray_up")

# A network that stays as it is shows the same maps on any number of threads; random flips and crops move them about.
SETTINGS = [
    "data.count=48", "data.size=32", "input.size=32", "input.resize=crop", "model.widths=[8,16,16]",
    "model.batch_norm=frozen", "optimizer.lr=1e-30", "training.epochs=2", "training.batch_size=8", "cluster.threads=1",
    "store.gate=top_k",
]  # fmt: skip


def load(root: str | Path, *more: str) -> TrainConfig:
    return load_config(TrainConfig, "scenes_oaa", [*SETTINGS, f"root={root}", *more])


@pytest.fixture(scope="module")
def counts() -> Counter[str]:
    """How often the run here does what; filled by `here`."""
    return Counter()


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest, counts: Counter[str]) -> TrainResult:
    """A run with a checkpoint in each epoch's middle."""
    request.getfixturevalue("ray_up")
    root = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch, counted() as outcome:
        patch.setattr(train, "_fit", fit_here)
        config = load(root, "cluster.workers=1", "checkpoint.every_steps=4", "tracking.enabled=false")
        result = run(config, run_id="near")
    counts.update(outcome)
    return result


def test_each_thing_is_done_once(here: TrainResult, counts: Counter[str]) -> None:
    """By the driver, and by its worker, which is in this process here but has nothing of the driver's.

    The worker commits version 1 in the middle of the second epoch and version 2 at its end, and reads neither. The
    driver reads version 2 to publish it and, to draw how the maps have grown, both and the newest.
    """
    assert here.store_version == 2
    assert counts == {
        "read recipe scenes_oaa": 1,
        "parse TrainConfig": 1,
        "build train": 2,
        "build val": 2,
        "create": 1,
        "open": 1,
        "manifest 1": 1,
        "manifest 2": 3,
    }


def test_a_worker_on_s3_leaves_the_maps_of_a_run_here(
    here: TrainResult,
    s3_server: str,
    workers_network: Proxy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Also where the object store is away for three seconds when the first checkpoint is written."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", workers_network.endpoint)
    away = Fault("PUT", r"/checkpoints/epoch-0001.*/training\.pt", Action.AWAY, seconds=3.0)
    workers_network.faults.append(away)
    hidden = {**S3_KEYS, "MLflow's password": secrets.token_hex(16)}  # not in a diff of this file
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "somebody")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", hidden["MLflow's password"])
    root, tracking = f"{s3_server}/runs", f"tracking.uri=sqlite:///{tmp_path}/mlflow.db"
    # Its epochs are equal, so the first is the best one; the maps are those of all epochs.
    with progress.shown():
        far = run(load(root, "cluster.workers=1", tracking, "checkpoint.best=val/loss"), run_id="far")
    assert away.times == 0
    assert far.model == f"{root}/far/model"
    assert RunFolder(root, "far").state().attempts == 1
    assert far.store == f"{root}/far/store"
    near, other = (map_store.open(entry.store).at(entry.store_version) for entry in (here, far))
    assert_alike(near, other)
    assert near.coverage + near.manifest.fallback == len(map_store.open(here.store).rows)

    listing = boto3.client("s3").list_objects_v2(Bucket="attn-test", Prefix="runs/far/")["Contents"]
    names = {item["Key"].removeprefix("runs/far/") for item in listing}
    assert {"run.json", "config.yaml", "metrics.jsonl", "model/model.json", "model/state_dict.pt"} <= names
    assert {"checkpoints/epoch-0001-batch-000000/training.pt", "store/store.json", "store/heads/far.json"} <= names

    described = boto3.client("s3").get_object(Bucket="attn-test", Key="runs/far/model/model.json")["Body"].read()
    info = json.loads(described)["info"]
    assert (info["best"]["epoch"], info["store_version"]) == (1, far.store_version)

    # No secret in the run's folder, its record, Ray's logs, or what was printed.
    printed = "".join(capfd.readouterr())
    assert (
        printed.count(": trying again for up to 2 min") == printed.count("the object store answers again, after") == 1
    )
    places = [("the terminal", printed.encode()), *in_bucket(s3_server), *under(tmp_path, session_logs())]
    assert len(places) > 20
    assert leaks(hidden, places) == []


def test_the_run_says_what_was_accumulated_and_where(here: TrainResult) -> None:
    folder = Path(here.folder)
    state = json.loads((folder / "run.json").read_text())
    assert (state["store"], state["store_version"]) == (here.store, here.store_version)
    store = map_store.open(here.store)
    assert store.head("near") == here.store_version
    first, second = (json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines())
    assert not any(name.startswith("store/") for name in first)
    assert second["store/accepted"] + second["store/dropped"] == len(store.rows)
    info = json.loads((folder / "model/model.json").read_text())["info"]
    assert (info["store"], info["store_version"]) == (here.store, here.store_version)


def test_what_a_finished_run_left_over_is_garbage(here: TrainResult) -> None:
    """Its last session is closed, so nobody may still be writing."""
    store = map_store.open(here.store)
    key = f"delta/near/{store.at(here.store_version).manifest.attempt}/w000-{'0' * 32}.arrow"
    left = Path(here.store or "", key)
    left.touch()
    os.utime(left, (0, 0))
    assert key in store.gc().keys
    left.unlink()


def test_its_model_is_scored_by_its_class_maps(here: TrainResult) -> None:
    folder = Path(here.folder)
    result = evaluate.run(evaluate.load("near", [f"root={folder.parent}", "tracking.enabled=false"]))
    scores = json.loads(Path(result.folder, "scores.json").read_text())["scores"]
    assert scores["seed_miou"]["protocol"]["map_kind"] == "cam"


def test_scores_of_its_store_describe_it_as_the_caller_did(here: TrainResult) -> None:
    folder = Path(here.folder)
    target = evaluate.load(here.store or "", [f"root={folder.parent}", "data.split=train", "panels=0"])
    assert isinstance(target, StoreTarget)
    assert target.snapshot.manifest.tentative
    about = json.loads(Path(evaluate.run(target).folder, "scores.json").read_text())["scored"]["about"]
    assert about == {}, "a training gives no metadata, and the store's own mark is no metadata"


SMALL = ["data.count=16", "training.batch_size=8", "store.start_epoch=0", "cluster.workers=1", "tracking.enabled=false"]


@pytest.mark.parametrize("ending", [KeyboardInterrupt(), RunError("a worker died too often"), {"fault": "loss = nan"}])
def test_a_run_that_ends_early_shows_the_maps_of_its_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: BaseException | dict[str, str]
) -> None:
    """The workers have not published them: they do so before the next checkpoint."""

    def fit(config: RunConfig, folder: RunFolder, *, session_outlives_run: bool) -> dict[str, Any]:
        with monkeypatch.context() as patch:
            patch.setattr(Accumulator, "publish", lambda accumulator, version: None)
            fit_here(config, folder, session_outlives_run=session_outlives_run)
        assert map_store.open(folder.path("store")).at().version == 0
        if isinstance(ending, BaseException):
            raise ending
        return ending

    monkeypatch.setattr(train, "_fit", fit)
    with pytest.raises((KeyboardInterrupt, RunError)):
        run(load(tmp_path, *SMALL), run_id="ended")
    store = map_store.open(str(tmp_path / "ended/store"))
    assert store.head("ended") == store.at().version == 2
    assert store.at().coverage > 0


def test_a_run_whose_model_cannot_be_written_shows_the_maps_of_its_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(training: TrainingRun[Any], **_: bool) -> str:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fit(config: RunConfig, folder: RunFolder, *, session_outlives_run: bool) -> dict[str, Any]:
        with monkeypatch.context() as patch:
            patch.setattr(Accumulator, "publish", lambda accumulator, version: None)
            return fit_here(config, folder, session_outlives_run=session_outlives_run)

    monkeypatch.setattr(train, "_fit", fit)
    monkeypatch.setattr(train, "export_model", full)
    with pytest.raises(OSError, match="No space left"):
        run(load(tmp_path, *SMALL), run_id="ended")
    assert map_store.open(str(tmp_path / "ended/store")).at().version == 2


def test_a_process_that_was_taken_for_dead_leaves_the_run_to_the_one_that_resumed_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    begun: list[Session] = []

    def fit(config: RunConfig, folder: RunFolder, *, session_outlives_run: bool) -> dict[str, Any]:
        outcome = fit_here(config, folder, session_outlives_run=session_outlives_run)
        store = map_store.open(folder.path("store"))
        begun.append(store.begin(folder.run_id, from_version=1))
        folder.update(pid=1, process="another", host="elsewhere")
        with pytest.raises(FencedError, match="restarted as session 2; this process, which ends the run with"):
            store.close(folder.run_id, store.at(2).version)
        return outcome

    monkeypatch.setattr(train, "_fit", fit)
    with pytest.raises(RunError, match="run 'stale' was taken over by process 1 on elsewhere; this process"):
        run(load(tmp_path, *SMALL), run_id="stale")
    state = RunFolder(str(tmp_path), "stale").state()
    assert (state.state, state.host, state.ended, state.error) == ("running", "elsewhere", None, None)
    assert not (tmp_path / "stale/model").exists()
    assert "the run's end is not recorded: run 'stale' was taken over" in capsys.readouterr().err
    version = begun[0].commit(1, [])  # the other process still may
    begun[0].publish(version)
    store = map_store.open(str(tmp_path / "stale/store"))
    assert store.at().version == version == 3
    store.close("stale", version)
    with pytest.raises(FencedError):
        begun[0].commit(1, [])


def test_the_error_that_ends_a_run_is_not_hidden_by_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fit(config: RunConfig, folder: RunFolder, *, session_outlives_run: bool) -> dict[str, Any]:
        raise RunError("a worker died too often")

    def full(folder: RunFolder) -> str:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(train, "_fit", fit)
    monkeypatch.setattr("jobs.training.publication.newest_checkpoint_name", full)
    with pytest.raises(RunError, match="a worker died too often"):
        run(load(tmp_path, *SMALL), run_id="ended")
    assert "could not be published: [Errno 28]" in capsys.readouterr().err


def test_a_stopped_trial_shows_the_maps_of_its_last_checkpoint(tmp_path: Path) -> None:
    config, folder, shown = load(tmp_path, *SMALL), RunFolder(str(tmp_path), "trial"), list[int]()
    training = TrainingRun(config, folder)
    folder.update(**hooks_of(config).validate(training))

    def tell(epoch: int, metrics: dict[str, float], last: bool) -> None:
        shown.append(map_store.open(folder.path("store")).at().version)
        raise TrialStopped

    with pytest.raises(TrialStopped):
        train_here(config, training, Objective(metric="train/loss", mode="min"), tell, start=None, threads=1)
    assert shown == [1]


def test_merges_run_as_tasks_in_their_order(tmp_path: Path) -> None:
    assert list(ray_map(_square, [5])) == [25]
    assert list(ray_map(_square, list(range(7)))) == [number**2 for number in range(7)]
    with pytest.raises(StoreError, match="three is too many") as caught:
        list(ray_map(_square, [1, 3, 2, -3]))
    assert type(caught.value) is StoreError


def test_a_warning_of_our_own_call_is_an_error_in_a_task_of_ray() -> None:
    with pytest.raises(FutureWarning, match="'x' is deprecated"):
        list(ray_map(use_what_is_deprecated, ["attn.training.trainer", "jobs.train"]))


def _square(number: int) -> int:
    if number == -3:
        raise StoreError("three is too many")
    return number * number
