"""`attn evaluate` adds its scores to the record of the model's training, once, in the same server only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from attn.config.resolve import resolve
from attn.data.sources.generated import ScenesConfig
from attn.data.sources.voc import VocConfig
from attn.errors import TrackingError
from attn.evaluation.score import Protocol
from attn.tracking import TrackingConfig, create_run, send_pending
from attn.tracking.journal import Journal
from attn.tracking.model_lookup import ModelLookup
from jobs import maps
from jobs.evaluate import EvaluateResult, load, run
from jobs.runs.run_folder import RunFolder
from jobs.scoring.plain_scores import PlainScores, is_other_data
from jobs.scoring.training_record import find_training
from jobs.segment_predict import load as load_masks
from jobs.segment_predict import run as run_masks
from tests.bundles import tiny_bundle, tiny_segmenter
from tests.ports import free_port

NOTICE = "the scores were not added to the record of the training"


def trained(root: Path, uri: str, *, segmenter: bool = False) -> str:
    """A recorded training `first` below the root; gives MLflow's id."""
    tracking = TrackingConfig(uri=uri, experiment=root.name)
    config = resolve(ModelLookup, "", "test", [f"root={root}"]).model_copy(update={"tracking": tracking})
    run_id = create_run(tracking, str(root), "first", config)
    assert run_id is not None
    (tiny_segmenter if segmenter else tiny_bundle)(root / "first" / "model")
    folder = RunFolder(str(root), "first")
    folder.write("config.yaml", f"tracking: {{uri: '{uri}'}}\n")
    folder.update(kind="train", state="done", tracking_run=run_id)
    return run_id


def evaluated(root: Path, uri: str, *overrides: str, model: str = "first", run_id: str = "scored") -> EvaluateResult:
    target = load(model, [f"root={root}", f"tracking.uri={uri}", "panels=0", "data.count=3", *overrides])
    return run(target, run_id=run_id)


@pytest.mark.parametrize("own", ["tracking.enabled=false", "tracking.enabled=true"])
@pytest.mark.parametrize("model", ["first", "ROOT/first/model"])
def test_scores_stand_on_the_page_of_the_training(
    own: str, model: str, mlflow_server: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id, client = trained(tmp_path, mlflow_server), MlflowClient(mlflow_server)
    model = model.replace("ROOT", str(tmp_path))
    result = evaluated(tmp_path, mlflow_server, own, "data.split=val", model=model)
    recorded: Any = client.get_run(run_id)
    assert recorded.data.metrics == pytest.approx({f"scores/val/{k}": v for k, v in result.scores.items()})
    assert recorded.data.tags["attn.protocol.val/seed_miou"] == result.protocols["seed_miou"]
    assert recorded.data.tags["attn.evaluation.val"] == "scored"
    assert (result.tracking_run is not None) == (own == "tracking.enabled=true")
    folder = RunFolder(str(tmp_path), "scored")
    folder.update(state="running", pid=None)
    evaluated(tmp_path, mlflow_server, own, "data.split=val", model=model)
    assert len(client.get_metric_history(run_id, "scores/val/seed_miou")) == 1, "a continued run records no second"
    assert NOTICE not in capsys.readouterr().err


def test_a_score_taken_another_way_replaces_no_plain_one(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    run_id = trained(tmp_path, uri)
    plain = evaluated(tmp_path, uri, "data.split=val")
    ways = ("maps.refine.name=pamr", "maps.scales=[0.5, 1]")
    other = evaluated(tmp_path, uri, "data.split=val", *ways, run_id="other")
    assert plain.scores["seed_miou"] != other.scores["seed_miou"]
    recorded: Any = MlflowClient(uri).get_run(run_id).data
    assert recorded.metrics["scores/val/seed_miou"] == pytest.approx(plain.scores["seed_miou"])
    assert recorded.metrics["scores/val/pamr_scales-0.5-1/seed_miou"] == pytest.approx(other.scores["seed_miou"])
    assert "scores/val/pamr_scales-0.5-1/mean_ap" not in recorded.metrics, "the classifier's own is the plain one"
    tags = recorded.tags
    assert tags["attn.protocol.val/seed_miou"] == plain.protocols["seed_miou"]
    assert tags["attn.protocol.val/pamr_scales-0.5-1/seed_miou"] == other.protocols["seed_miou"]
    assert tags["attn.evaluation.val/pamr_scales-0.5-1"] == "other"
    assert tags["attn.evaluation.val"] == "other", "its mean_ap is the newest on the page"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ""),
        ({"refinement": {"name": "pamr"}}, "pamr"),
        ({"refinement": {"name": "pamr", "after": {"name": "affinity"}}}, "affinity_pamr"),
        ({"scales": (0.5, 1.0), "flip": True}, "scales-0.5-1_flip"),
        ({"layer": "layer3", "map_kind": "channel"}, "channel_layer-layer3"),
        ({"scored": "classifier", "scales": (0.5, 1.0)}, ""),
        ({"scored": "classifier", "crops": "ten"}, "crops-ten"),
    ],
)
def test_the_name_of_another_way(fields: dict[str, Any], expected: str) -> None:
    given = {"source": "voc", "split": "val", "images": 3, "fingerprint": "ab" * 32, "scored": "maps", "resize": "none"}
    protocol = Protocol.model_validate(given | {"map_kind": "grad_cam", "layer": "last"} | fields)
    assert PlainScores(False, "grad_cam", "last").variant(protocol) == expected
    of_other_data = PlainScores(True, "grad_cam", "last").variant(protocol)
    assert of_other_data == "_".join(filter(None, ("data-abababab", expected)))


def test_other_data_is_known_by_its_place_and_not_by_its_split(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    assert not is_other_data(VocConfig(root="/voc"), file)
    file.write_text("data: {source: voc, root: /voc, split: train}")
    assert not is_other_data(VocConfig(root="/voc", split="val"), file)
    assert is_other_data(VocConfig(root="/elsewhere", split="train"), file)
    assert is_other_data(ScenesConfig(split="train"), file)


def test_scores_of_masks_stand_on_the_page_of_the_segmentation_network(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    run_id = trained(tmp_path, uri, segmenter=True)
    result = run_masks(load_masks("first", [f"root={tmp_path}", "panels=0", "data.count=3", "data.split=test"]))
    recorded = MlflowClient(uri).get_run(run_id)
    assert recorded.data.metrics == pytest.approx({f"scores/test/{k}": v for k, v in result.scores.items()})


@pytest.mark.parametrize("typed", ["model", "./model/", "."])
def test_a_model_may_be_named_from_within_its_run_s_folder(
    typed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder(str(tmp_path), "first")
    folder.update(kind="train", state="done", tracking_run="abc")
    folder.write("config.yaml", "tracking: {uri: 'http://tracking'}\n")
    tiny_bundle(tmp_path / "first" / "model")
    monkeypatch.chdir(tmp_path / "first")
    overrides = [f"root={tmp_path}/elsewhere", "data.count=3"]
    target, job = load(typed, overrides), maps.load(typed, overrides)
    assert isinstance(job, maps.MapsJob)
    assert target.name == job.model
    monkeypatch.chdir(tmp_path)  # what is recorded means the same elsewhere
    training = find_training(target.name, target.config)
    assert training is not None
    assert training.run == "abc"


def test_nothing_is_added_where_the_training_is_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    uri, other = f"sqlite:///{tmp_path}/mlflow.db", f"sqlite:///{tmp_path}/other.db"
    run_id, client = trained(tmp_path, uri), MlflowClient(uri)
    cheap = "evaluation.maps=false"
    evaluated(tmp_path, uri, cheap, "record_in_training=false")
    assert NOTICE not in capsys.readouterr().err
    evaluated(tmp_path, other, cheap)
    assert capsys.readouterr().err.count(f"{NOTICE}: it is in {uri}, not in {other}: set tracking.uri") == 1
    assert client.get_run(run_id).data.metrics == {}
    assert not (tmp_path / "other.db").exists()
    client.delete_run(run_id)
    evaluated(tmp_path, uri, cheap)
    assert capsys.readouterr().err.count(f"{NOTICE}: {uri} has it no more") == 1
    RunFolder(str(tmp_path), "first").update(tracking_run=None)
    evaluated(tmp_path, uri, cheap)
    assert NOTICE not in capsys.readouterr().err, "it was never recorded"


def test_scores_wait_for_a_server_that_is_away(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    away, file = f"http://127.0.0.1:{free_port()}", f"sqlite:///{tmp_path}/mlflow.db"
    run_id = trained(tmp_path, file)
    folder = RunFolder(str(tmp_path), "first")
    folder.write("config.yaml", f"tracking: {{uri: '{away}'}}\n")
    result = evaluated(tmp_path, away, "evaluation.maps=false")
    assert "1 records are buffered" in capsys.readouterr().err
    assert [one["do"] for one in Journal(result.folder).records] == ["scores"]
    # The server is back, with what it had: `attn resume` calls this.
    send_pending(TrackingConfig(enabled=False, uri=file), str(tmp_path), None, result.folder)
    assert "scores/train/recall" in MlflowClient(file).get_run(run_id).data.metrics
    assert not Journal(result.folder).records
    gone = {"do": "scores", "run": "0" * 32, "metrics": [["scores/val/mean_ap", 0.5, 1, 0]], "tags": {}}
    Journal(result.folder).add(gone)
    with pytest.raises(TrackingError, match="1 more could not be buffered or were refused"):
        send_pending(TrackingConfig(enabled=False, uri=file), str(tmp_path), None, result.folder)
    assert not Journal(result.folder).records, "a run that is gone is not asked for again"
