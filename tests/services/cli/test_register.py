"""`attn models register`: the model of a run that has ended becomes a version, with or without a record of the run."""

from __future__ import annotations

import json
import platform
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import LoggedModelOutput, RunOutputs

from attn.errors import TrackingError
from attn.evaluation.score import Protocol
from attn.models.bundle import load_bundle
from attn.registry import log_model
from attn.registry.mlflow_model import recorded_network
from attn.registry.mlflow_registry import Registry
from attn.runs.config_reader import read_config
from attn.runs.sweep import Objective
from attn.tracking import TrackingConfig, create_run
from jobs.runs.run_folder import RunFolder
from jobs.sweeps.objective_scores import write_scores
from jobs.sweeps.results import best_row, read_rows
from jobs.trained_run import trained_run
from tests.bundles import CONFIG, tiny_bundle
from tests.services.cli.conftest import Attn

pytestmark = pytest.mark.filterwarnings("ignore")  # of torch.export and MLflow, at every export

TRAINING = f"{CONFIG}method: {{name: grad_cam}}\nmodel: {{name: tiny, weights: null}}\n"
SWEEP = "recipe: base.yaml\nobjective: {metric: val/mean_ap, mode: max}\n"


def finished(root: Path, name: str, *, seed: int, recorded: bool = False, **fields: Any) -> RunFolder:
    """A run that is done, with a model; `recorded`: in MLflow, below its root."""
    folder = RunFolder(str(root), name)
    text = TRAINING + f"tracking: {{enabled: {str(recorded).lower()}}}\n"
    bundle = tiny_bundle(Path(folder.path("model")), seed=seed)
    described = json.loads((bundle / "model.json").read_text())
    described["info"]["run_id"] = name
    (bundle / "model.json").write_text(json.dumps(described))
    folder.write("config.yaml", text)
    record = None
    if recorded:
        tracking = TrackingConfig()
        record = create_run(tracking, str(root), name, read_config(text, "config.yaml"))
        assert log_model(tracking, str(root), record, bundle)
    metrics = {"val/mean_ap": 0.625, "val/loss": None}
    folder.begin(**{"kind": "train", "state": "done", "tracking_run": record, "step": 12, "metrics": metrics, **fields})
    return folder


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of which one was recorded in MLflow as it ran."""
    root = tmp_path_factory.mktemp("register") / "runs"
    finished(root, "recorded", seed=1, recorded=True)
    finished(root, "unrecorded", seed=2)
    return root


def registry_of(root: Path) -> Registry:
    return Registry(f"sqlite:///{root}/mlflow.db")


def test_a_run_without_a_record_gets_one_with_its_model(root: Path, attn: Attn, tmp_path: Path) -> None:
    result = attn("models", "register", "unrecorded", "late", "--alias", "champion", f"--root={root}", "--json")
    assert result.status == 0, result.err
    assert (result.json["name"], result.json["version"], result.json["aliases"]) == ("late", 1, ["champion"])
    assert (result.json["run"], result.json["new"]) == ("unrecorded", True)
    record = registry_of(root)._client.get_run(result.json["tracking_run"])
    assert (record.info.status, record.data.tags["attn.run_id"]) == ("FINISHED", "unrecorded")
    assert record.data.metrics == {"val/mean_ap": 0.625}
    assert record.data.params["model"] == "tiny"

    fetched = attn("models", "get", "late@champion", f"--root={root}", "--to", str(tmp_path / "m"))
    assert fetched.status == 0, fetched.err
    assert load_bundle(tmp_path / "m").sha256 == load_bundle(root / "unrecorded" / "model").sha256

    again = attn("models", "register", str(root / "unrecorded"), "late", "--alias", "next")
    assert again.status == 0, again.err
    assert "late/1 @champion @next is the model of run unrecorded, which was registered before" in again.out
    other = attn("models", "register", "unrecorded", "other", f"root={root}", "--json").json
    assert (other["version"], other["tracking_run"]) == (1, record.info.run_id), "no second record"


def test_a_recorded_run_is_registered_by_its_record_without_another_export(
    root: Path, attn: Attn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("attn.registry.mlflow_model.log_network", lambda *_, **__: pytest.fail("it has the model"))
    result = attn("models", "register", "recorded", "early", f"root={root}", "--json")
    assert result.status == 0, result.err
    assert result.json["tracking_run"] == RunFolder(str(root), "recorded").state().tracking_run
    assert (result.json["version"], result.json["aliases"], result.json["run"]) == (1, [], "recorded")


def test_a_registration_that_a_crash_has_cut_is_completed(
    root: Path, attn: Attn, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: Any) -> None:
        raise TrackingError("crash")

    with monkeypatch.context() as patched:
        patched.setattr(Registry, "_complete", crash)
        assert attn("models", "register", "recorded", "cut", f"root={root}").status == 1
    client = registry_of(root)._client
    assert not client.get_model_version("cut", "1").description
    again = attn("models", "register", "recorded", "cut", "--alias", "champion", f"root={root}", "--json")
    assert again.status == 0, again.err
    assert (again.json["version"], again.json["aliases"], again.json["new"]) == (1, ["champion"], False)
    assert "cut/1" in str(client.get_model_version("cut", "1").description)


def test_a_sweeps_model_has_the_scores_that_it_was_chosen_by(root: Path, attn: Attn) -> None:
    assert attn("models", "register", "recorded", "plain", f"root={root}").status == 0
    sweep = RunFolder(str(root), "tuned")
    sweep.begin(kind="sweep", state="done")
    sweep.write("sweep.yaml", SWEEP)
    trial = RunFolder(sweep.uri, "tuned-0000")
    metrics = {"val/mean_ap": 0.625, "mean_ap": 0.75}
    trial.begin(kind="train", state="done", number=0, values={"seed": 0}, metrics=metrics, model=trial.path("model"))
    shutil.copytree(root / "recorded" / "model", trial.path("model"))  # another's, so that nothing is exported here
    trial.write("config.yaml", TRAINING)
    protocol = Protocol(source="scenes", split="val", images=6, fingerprint="a", scored="classifier", resize="none")
    write_scores(trial, {"mean_ap": protocol}, metrics)
    for new in (True, False):
        result = attn("models", "register", "tuned", "chosen", f"root={root}", "--json")
        assert result.status == 0, result.err
        assert (result.json["run"], result.json["new"]) == ("tuned-0000", new)
        (found,) = registry_of(root).versions("chosen")
        assert [(one.name, one.value) for one in found.scores] == [("mean_ap", 0.75)]


def test_a_failed_trial_of_a_sweep_that_is_done_is_not_offered_a_resume(root: Path, attn: Attn) -> None:
    sweep = RunFolder(str(root), "swept")
    sweep.begin(kind="sweep", state="done")
    sweep.write("sweep.yaml", SWEEP)
    trial = RunFolder(sweep.uri, "swept-0001")
    trial.begin(kind="train", state="failed", number=1, values={"seed": 0}, error="loss = nan")
    result = attn("models", "register", trial.uri, "chosen")
    assert result.status == 1
    assert "its sweep is done and tries it no more; choose another, `attn show" in result.err
    assert "attn resume" not in result.err
    trial.update(cause="lost")
    assert "attn resume" in attn("models", "register", trial.uri, "chosen").err


@pytest.mark.parametrize("order", [1, -1])
def test_the_networks_of_a_record_are_told_apart_by_weights_and_age(
    root: Path, monkeypatch: pytest.MonkeyPatch, order: int
) -> None:
    folder, registry = RunFolder(str(root), "recorded"), registry_of(root)
    client, run, bundle = registry._client, str(folder.state().tracking_run), Path(folder.path("model"))
    sha256 = json.loads((bundle / "model.json").read_text())["sha256"]

    def add(weights: str) -> str:
        time.sleep(0.002)  # times are in milliseconds
        experiment = client.get_run(run).info.experiment_id
        model = client.create_logged_model(experiment, "model", run, tags={"attn.sha256": weights}).model_id
        client.log_outputs(run, [LoggedModelOutput(model, 0)])
        client.finalize_logged_model(model, "READY")
        return model

    monkeypatch.setattr(RunOutputs, "model_outputs", property(lambda outputs: outputs._model_outputs[::order]))
    first = recorded_network(registry.uri, run, bundle)
    assert first is not None
    others = [add("0" * 64)]
    assert recorded_network(registry.uri, run, bundle) == first, "of other weights"
    others.append(add(sha256))
    assert recorded_network(registry.uri, run, bundle) == f"models:/{others[-1]}", "the newest"
    for other in others:
        client.delete_logged_model(other)
    assert recorded_network(registry.uri, run, bundle) == first, "those that were deleted are absent"


def test_another_registry_than_that_of_the_record(root: Path, attn: Attn, tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/other.db"
    result = attn("models", "register", "recorded", "there", f"root={root}", f"tracking.uri={uri}", "--json")
    assert result.status == 0, result.err
    assert result.json["registry"] == uri
    assert [one.reference for one in Registry(uri).versions("there")] == ["there/1"]
    assert "there" not in registry_of(root).names()


def test_a_pipeline_stands_for_its_last_network_and_a_sweep_for_its_best_trial(tmp_path: Path) -> None:
    stage = {"run_id": "pipe-segment-1", "state": "done"}
    pipeline = RunFolder(str(tmp_path), "pipe")
    pipeline.begin(kind="pipeline", state="done", stages={"segment": stage, "evaluation": {**stage, "run_id": "e"}})
    RunFolder(str(tmp_path), "pipe-segment-1").begin(kind="segment", state="done")
    found = trained_run(pipeline, pipeline.state())
    assert found is not None
    assert found.run_id == "pipe-segment-1"
    pipeline.update(stages={"segment": stage, "retrain": {"run_id": "pipe-retrain-1", "state": "done"}})
    found = trained_run(pipeline, pipeline.state())
    assert found is not None
    assert found.run_id == "pipe-retrain-1"

    sweep = RunFolder(str(tmp_path), "sweep")
    sweep.begin(kind="sweep", state="done")
    sweep.write("sweep.yaml", SWEEP)
    assert trained_run(sweep, sweep.state()) is None, "no trial is done"
    for number, (state, score) in enumerate([("done", 0.5), ("stopped", 0.9), ("done", 0.7)]):
        trial = RunFolder(sweep.uri, f"sweep-{number:04d}")
        metrics, values = {"val/mean_ap": score}, {"seed": number}
        trial.begin(kind="train", state=state, number=number, values=values, metrics=metrics, model="m")
    found = trained_run(sweep, sweep.state())
    assert found is not None
    assert found.run_id == "sweep-0002", "the best of those that ran to their end"

    RunFolder(sweep.uri, "sweep-0003").begin(
        kind="train", state="done", number=3, values={"seed": 3}, metrics={"val/mean_ap": 0.8}
    )
    best = best_row(Objective(metric="val/mean_ap"), read_rows(sweep))
    assert best is not None
    assert best.number == 3
    assert trained_run(sweep, sweep.state()) is None, "it has no model, and no other is taken for the best"
    for mode, number in (("max", 2), ("min", 0)):
        sweep.write("sweep.yaml", SWEEP.replace("max", mode))
        RunFolder(sweep.uri, "sweep-0003").update(metrics={"val/mean_ap": {"max": 0.7, "min": 0.5}[mode]}, model="m")
        found = trained_run(sweep, sweep.state())
        assert found is not None
        assert found.run_id == f"sweep-000{number}", "the first of equal ones"


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("recorde", "x"), 1, ["no run 'recorde'", "did you mean recorded"]),
        (("half", "x"), 1, ["run 'half' is cancelled", "`attn resume half --root"]),
        (("away", "x"), 1, ["run 'away' is running", "`attn status", "--wait`"]),
        (("gone", "x"), 1, ["run 'gone' is interrupted", "`attn resume gone --root"]),
        (("broken", "x"), 1, ["run.json is damaged"]),
        (("drawn", "x"), 1, ["of kind maps", "has trained no model", "it worked on recorded"]),
        (("emptied", "x"), 1, ["run 'emptied' is done", "holds no model.json"]),
        (("tried-0001", "x"), 1, ["run 'tried-0001' is stopped", "choose another"]),
        (("recorded", "a/b"), 2, ["NAME: 'a/b' must not contain /"]),
        (("recorded", "x@best"), 2, ["NAME: 'x@best' must not contain", "--alias"]),
        (("recorded", "x", "--alias", "latest"), 2, ["--alias", "must not be latest"]),
        (("recorded", "x", "data.split=val"), 2, ["is not a known field"]),
    ],
)
def test_what_cannot_be_registered_is_one_clear_error(
    root: Path, attn: Attn, arguments: tuple[str, ...], status: int, words: list[str]
) -> None:
    RunFolder(str(root), "half").begin(kind="train", state="cancelled")
    RunFolder(str(root), "gone").begin(kind="train", state="running", pid=1, host=platform.node(), process="0")
    RunFolder(str(root), "away").begin(kind="train", state="running", pid=1, host="another-machine", process="0")
    RunFolder(str(root), "broken").write("run.json", "{")
    RunFolder(str(root), "drawn").begin(kind="maps", state="done", target="recorded")
    RunFolder(str(root), "emptied").begin(kind="train", state="done")
    RunFolder(str(root), "tried").begin(kind="sweep", state="done")
    RunFolder(str(root / "tried"), "tried-0001").begin(kind="train", state="stopped", number=1, values={})
    names = registry_of(root).names()
    result = attn("models", "register", *arguments, f"root={root}")
    assert (result.status, result.err.count("error: "), "Traceback" in result.err) == (status, 1, False), result.err
    for word in words:
        assert word in result.err
    assert registry_of(root).names() == names
