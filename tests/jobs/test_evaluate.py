"""Evaluating a bundle on generated scenes, as `attn evaluate` does."""

from __future__ import annotations

import csv
import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from attn.config.resolve import resolve
from attn.data.sources.generated import ScenesConfig
from attn.data.transforms import InputConfig
from attn.errors import AttnError, ConfigError, DataError, TrackingError, WeightsError
from attn.evaluation import Score, compare
from attn.models.bundle import save_bundle
from attn.models.network import ModelConfig
from attn.pictures.curve import score_curves
from attn.tracking import NullTracker
from benchmarks.maps import ROWS, measure, table
from jobs.evaluate import EvaluateResult, load, run
from jobs.evaluate import table as score_table
from jobs.runs.listing import list_entries
from jobs.runs.run_folder import RunFolder
from tests.saliency.networks import red_network

CONFIG = """
data: {source: scenes, split: train, count: 12, size: 48, objects: [1, 2], classes: [CLASSES]}
validation: {split: val}
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder of runs with one trained model, `first/model`."""
    torch.manual_seed(0)
    classes = ScenesConfig().classes[:3]
    model = ModelConfig(name="tiny", weights=None)
    save_bundle(
        tmp_path / "first" / "model",
        model.build(3).state_dict(),
        model=model,
        classes=classes,
        input=InputConfig(size=48),
        map_kind="grad_cam",
        layers=(),
        config_yaml=CONFIG.replace("CLASSES", ", ".join(classes)),
        info={"run_id": "first", "method": {"name": "gain", "extra_supervision": "masks"}},
    )
    return tmp_path


def test_a_run_is_scored_on_its_own_validation_split(root: Path) -> None:
    target = load("first", [f"root={root}", "panels=3"])
    result = run(replace(target, load_seconds=target.load_seconds + 100))
    assert (target.load_seconds > 0, result.seconds > 100) == (True, True), "opening model and data counts"
    assert result.data == "scenes val"
    assert (result.images, result.masked) == (12, 12)
    assert result.tracking_run is None
    assert result.model == "first"
    folder = Path(result.folder)
    written = json.loads((folder / "scores.json").read_text())
    for name, value in result.scores.items():
        score = Score.from_json(json.dumps(written["scores"][name]))
        assert (score.value, score.hash) == (value, result.protocols[name])
        assert 0 <= value <= 1
    assert written["scores"]["seed_miou"]["protocol"]["resize"] == "squash 48x48"
    best = written["scores"]["seed_miou"]["extras"]["threshold"]
    assert result.thresholds.items() >= {("seed_miou", best), ("direct_miou", 0.2)}
    assert result.thresholds.keys() == {"seed_miou", "direct_miou", "direct_miou_best"}
    assert (best, result.predict) == (0, None), "masks of whole images are not offered"
    rows = list(csv.DictReader((folder / "per_class.csv").open()))
    assert [row["class"] for row in rows] == ["background", *written["classes"]]
    assert len(list((folder / "panels").iterdir())) == 3
    for name in ("sheet.png", "curves.png"):
        assert Image.open(folder / name).size > (100, 100)
    assert json.loads((folder / "run.json").read_text())["state"] == "done"
    json.dumps(result.to_json())


def test_the_same_evaluation_gives_the_same_figures_and_another_split_is_not_compared(root: Path) -> None:
    def scored(*overrides: str) -> Score:
        result = run(load(str(root / "first"), [f"root={root}", "panels=0", *overrides]))
        text = json.loads(Path(result.folder, "scores.json").read_text())
        return Score.from_json(json.dumps(text["scores"]["seed_miou"]))

    first, again, batches = scored(), scored(), scored("batch_size=5")
    assert first == again
    # Batches of another size round differently on some processors: a pixel at the threshold may change sides.
    assert compare(first, batches).difference == pytest.approx(0, abs=1e-3)
    with pytest.raises(AttnError, match="split"):
        compare(first, scored("data.split=test"))
    with pytest.raises(AttnError, match="resize"):
        compare(first, scored("input.size=64"))


def test_softmax_where_the_source_has_sigmoids_is_another_protocol_of_what_depends_on_it(root: Path) -> None:
    plain, said, other = (
        run(
            load(
                "first", [f"root={root}", "panels=0", "data.objects=[1, 1]", "evaluation.faithfulness.images=2", *more]
            )
        )
        for more in ([], ["data.exclusive=false"], ["data.exclusive=true"])
    )
    assert plain.scores["mean_ap"] != other.scores["mean_ap"]
    assert said.protocols == plain.protocols, "what the source implies is no choice"
    of_maps = {"seed_miou", "coverage", "precision", "energy", "pointing"}
    assert {name for name, value in plain.protocols.items() if other.protocols[name] == value} == of_maps
    assert {name: other.scores[name] for name in of_maps} == {name: plain.scores[name] for name in of_maps}
    notes = [[note for note in result.notes if "data.exclusive" in note] for result in (plain, said, other)]
    assert notes[:2] == [[], []]
    assert "are those of softmax, and the model was trained for a sigmoid per class" in notes[2][0]
    assert "data.exclusive=false scores it as it was trained" in notes[2][0]


def test_maps_of_several_scales_are_scored_beside_the_same_classifier(root: Path) -> None:
    results: list[EvaluateResult] = []

    def scored(*overrides: str) -> dict[str, Score]:
        results.append(result := run(load("first", [f"root={root}", "panels=0", *overrides])))
        written = json.loads(Path(result.folder, "scores.json").read_text())["scores"]
        return {name: Score.from_json(json.dumps(one)) for name, one in written.items()}

    plain, scaled = scored(), scored("maps.scales=[2, 0.5, 1]", "maps.flip=true", "data_workers=1")
    assert plain.keys() == scaled.keys()
    best = results[-1].thresholds["seed_miou"]
    assert 0 < best < 1
    assert results[-1].predict == (
        f"attn predict IMAGE... --model first --threshold {best:g} 'maps.scales=[0.5, 1.0, 2.0]' maps.flip=true "
        f"--root {root}"
    )
    whats = {entry.about.what for entry in list_entries(str(root)) if entry.state.kind == "evaluate"}
    assert whats == {"of first", "of first, maps: 3 scales, flip"}
    for name, score in plain.items():
        if score.protocol.scored == "classifier":
            assert scaled[name] == score
    assert scaled["seed_miou"].value != plain["seed_miou"].value
    assert (scaled["seed_miou"].protocol.scales, scaled["seed_miou"].protocol.flip) == ((0.5, 1, 2), True)
    with pytest.raises(AttnError, match=r"scales: \[1.0\] against \[0.5, 1.0, 2.0\]; flip: null against true"):
        compare(plain["seed_miou"], scaled["seed_miou"])
    assert scored("maps.scales=[1]", "maps.flip=false") == plain
    with pytest.raises(ConfigError, match=r"maps\.scales: 0\.1 makes inputs of 8 .*\(0\.17 or more"):
        scored("maps.scales=[0.1]")


def test_insertion_and_deletion_are_scored_of_some_images_where_asked(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ["evaluation.faithfulness.images=3", "evaluation.faithfulness.steps=4"]
    titles = list[str]()
    monkeypatch.setattr(
        "jobs.evaluate.score_curves",
        lambda *args, title, **more: titles.append(title) or score_curves(*args, title=title, **more),
    )
    result = run(load("first", [f"root={root}", "panels=0", "data.count=6", *asked]))
    whole, part = titles
    assert whole == "first (gain with masks)\nscenes val, 6 images, maps: grad_cam"
    assert part == "Probability of the map's class: first (gain with masks)\nscenes val, 3 images, maps: grad_cam"
    run(load("first", [f"root={root}", "panels=0", "data.count=2", "maps.scales=[1,1.5]", "maps.flip=true"]))
    assert titles[-1].endswith("scenes val, 2 images, maps: grad_cam, 2 scales, flip")
    plain = run(load("first", [f"root={root}", "panels=0", "data.count=6"]))
    assert {name: value for name, value in result.scores.items() if name in plain.scores} == plain.scores
    assert result.scores.keys() - plain.scores.keys() == {"insertion", "deletion"}
    assert {name: result.protocols[name] for name in plain.protocols} == plain.protocols
    assert Image.open(Path(result.folder) / "faithfulness.png").size > (100, 100)
    assert not Path(plain.folder, "faithfulness.png").exists()
    written = json.loads(Path(result.folder, "scores.json").read_text())["scores"]["insertion"]
    assert (written["protocol"]["images"], len(written["curve"])) == (3, 5)
    console = Console(width=200, record=True)
    console.print(score_table(result))
    assert f"insertion {100 * result.scores['insertion']:.1f} %, deletion " in console.export_text()


def test_thresholds_without_masks(root: Path) -> None:
    """By saliency that the data gives and by that of a network, which is computed once; the masks' own stays."""
    digest = red_network(root / "own.onnx")
    own = ["evaluation.saliency=u2netp", f"evaluation.saliency_model={root}/own.onnx"]

    def scored(*overrides: str) -> dict[str, Any]:
        result = run(load("first", [f"root={root}", "panels=0", "data.count=6", *overrides]))
        return json.loads(Path(result.folder, "scores.json").read_text())

    plain, given = scored(), scored("evaluation.saliency=given")
    network = scored(*own, f"evaluation.saliency_sha256={digest}")
    for values, saliency in ((given, "given by the data"), (network, f"u2netp {digest[:12]}")):
        assert values["scores"].keys() - plain["scores"].keys() == {"seed_miou_agreement"}
        assert {name: values["scores"][name] for name in plain["scores"]} == plain["scores"]
        score = Score.from_json(json.dumps(values["scores"]["seed_miou_agreement"]))
        assert score.protocol.threshold is not None
        assert (score.protocol.threshold.saliency, score.protocol.threshold.saliency_threshold) == (saliency, 0.5)
        assert score.value == dict(score.curve)[score.extras["threshold"]] <= values["scores"]["seed_miou"]["value"]
        assert any(f"by agreement with saliency ({saliency})" in note for note in values["notes"])
    kept = list((root / ".saliency").rglob("*.png"))
    assert len(kept) == 6
    with pytest.raises(WeightsError, match=rf"has the SHA-256 {digest}, expected "):
        scored(*own)


def test_the_benchmark_of_maps_gives_the_scores_of_evaluations_and_cues(root: Path) -> None:
    digest = red_network(root / "own.onnx")
    own = [f"evaluation.saliency_model={root}/own.onnx", f"evaluation.saliency_sha256={digest}"]
    given = [f"root={root}", "data.count=6", *own]
    done = {}
    for title in ("CAM", "+ flip"):
        done[title] = {"title": title, "seed": 0} | measure("first", [*ROWS[title], *given])
        result = run(load("first", [*ROWS[title], "panels=0", "evaluation.saliency=u2netp", *given]))
        scores = done[title]["scores"]
        assert {name: scores[name] for name in ("seed_miou", "seed_miou_agreement")} == {
            name: result.scores[name] for name in ("seed_miou", "seed_miou_agreement")
        }
        assert 0 <= scores["cue_miou_all"] <= scores["cue_miou"] <= 1
        assert (done[title]["images"], done[title]["seconds"] > 0) == (6, True)
    assert done["CAM"]["scores"] != done["+ flip"]["scores"]
    heading, _, first, second = table(done).splitlines()
    assert heading.startswith("| maps | seeds | seed mIoU, threshold by masks | by saliency | cue mIoU |")
    assert (first.startswith("| CAM | 1 |"), second.startswith("| + flip | 1 |")) == (True, True)


def test_biased_splits_can_be_read_off(root: Path) -> None:
    alone = run(load("first", [f"root={root}", "panels=0", "data.split=context_without_object"]))
    assert all(0 <= row["specificity"] <= 1 for row in alone.per_class if row.get("specificity") is not None)


def test_inputs_of_different_sizes_are_scored_one_by_one(root: Path) -> None:
    result = run(load("first", [f"root={root}", "panels=0", "data.count=3", "input.resize=short_side"]))
    assert result.images == 3


def test_the_evaluation_is_recorded_where_asked(root: Path) -> None:
    from mlflow import MlflowClient

    result = run(load("first", [f"root={root}", "tracking.enabled=true", "panels=1", "data.count=3"]))
    client = MlflowClient(f"sqlite:///{root}/mlflow.db")
    recorded = client.get_run(result.tracking_run)
    assert recorded.info.status == "FINISHED"
    assert recorded.data.metrics == pytest.approx(result.scores)
    assert recorded.data.tags["attn.protocol.seed_miou"] == result.protocols["seed_miou"]
    names = {item.path for item in client.list_artifacts(result.tracking_run)}
    assert {"scores.json", "per_class.csv", "curves.png", "sheet.png", "panels", "config.yaml"} <= names


@pytest.mark.parametrize("model", ["runs/first/model", "runs/first", "runs/first/", "first"])
def test_a_model_in_an_object_store_is_scored_and_no_copy_stays(
    root: Path, model: str, s3_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    RunFolder(f"{s3_server}/runs", "first").upload(root / "first" / "model", "model")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    by_id = model == "first"
    name = model if by_id else f"{s3_server}/{model}"
    own = f"root={s3_server}/runs" if by_id else f"root={root}"
    result = run(load(name, [own, "panels=0", "data.count=2", "evaluation.maps=false"]))
    assert (result.images, result.model) == (2, name)
    assert not list(scratch.iterdir())
    with pytest.raises(WeightsError, match=rf"no trained model .*{s3_server}/runs/second/model"):
        run(load("second" if by_id else f"{s3_server}/runs/second", [own]))


def test_a_registered_model_leaves_no_copy(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[Path] = []

    def fetch(tracking: object, root_: str, name: str, destination: Path) -> Path:
        fetched.append(destination)
        return Path(shutil.copytree(root / "first" / "model", destination / "bundle"))

    monkeypatch.setattr("attn.registry.lookup.fetch_model", fetch)
    result = run(load("named@champion", [f"root={root}", "panels=0", "data.count=2", "evaluation.maps=false"]))
    assert result.model == "named@champion"
    assert not fetched[0].exists()


class Records(NullTracker):
    """Notes how it is closed; recording and closing fail."""

    run_id = "record"

    def __init__(self) -> None:
        self.states: list[str] = []

    def log_metrics(self, metrics: Mapping[str, float | np.floating[Any]], step: int) -> None:
        raise TrackingError("the server is gone")

    def terminate(self, state: str) -> None:
        self.states.append(state)
        raise TrackingError("the server is gone")


@pytest.mark.parametrize("cause", [None, KeyboardInterrupt(), DataError("a broken image")])
def test_a_record_that_fails_hides_neither_the_scores_nor_the_cause(
    root: Path, cause: BaseException | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tracker = Records()
    monkeypatch.setattr("jobs.runs.lifecycle.attach", lambda *_: tracker)
    overrides = [f"root={root}", "panels=0", "data.count=2", "evaluation.maps=false"]
    if cause is None:
        assert run(load("first", overrides)).images == 2
        state = "done"
    else:

        def evaluate(*_: object, **__: object) -> None:
            raise cause

        monkeypatch.setattr("jobs.scoring.targets.count_images", evaluate)
        with pytest.raises(type(cause)):
            run(load("first", overrides))
        state = "cancelled" if isinstance(cause, KeyboardInterrupt) else "failed"
    assert tracker.states == [state]
    written = next(path for path in root.iterdir() if path.name.startswith("evaluate-")) / "run.json"
    assert json.loads(written.read_text())["state"] == state
    assert "could not be recorded: the server is gone" in capsys.readouterr().err


def test_the_layer_that_was_trained_is_scored_and_another_can_be_asked_for(root: Path) -> None:
    def layer(*overrides: str) -> str:
        result = run(load("first", [f"root={root}", "panels=0", "data.count=2", *overrides]))
        return json.loads(Path(result.folder, "scores.json").read_text())["scores"]["seed_miou"]["protocol"]["layer"]

    assert layer() == "last"
    assert layer("evaluation.layer=inner") == "inner"
    description = root / "first" / "model" / "model.json"
    description.write_text(json.dumps(json.loads(description.read_text()) | {"layer": "inner"}))
    assert layer() == "inner"
    assert layer("evaluation.layer=last") == "last"
    with pytest.raises(ConfigError, match="no layer 'outer'"):
        layer("evaluation.layer=outer")


def test_the_table_shows_every_class_and_the_means(root: Path) -> None:
    result = run(load("first", [f"root={root}", "panels=0", "data.count=3"]))
    console = Console(width=80, record=True)
    console.print(score_table(result))
    text = console.export_text()
    assert "direct" in text
    for row in result.per_class:
        assert row["class"] in text
    assert f"{100 * result.scores['seed_miou']:.1f}" in text


def test_data_with_other_classes_is_refused_by_name(root: Path) -> None:
    own = ScenesConfig().classes
    with pytest.raises(DataError, match=rf"lacks {own[2]}.*lacks {own[3]}"):
        run(load("first", [f"root={root}", f"data.classes=[{own[0]}, {own[1]}, {own[3]}]"]))
    with pytest.raises(DataError, match="another order"):
        run(load("first", [f"root={root}", f"data.classes=[{own[1]}, {own[0]}, {own[2]}]"]))
    assert sorted(path.name for path in root.iterdir()) == ["first"], "nothing is left behind"


def test_a_model_that_is_not_there_is_refused(root: Path) -> None:
    with pytest.raises(WeightsError, match="second"):
        run(load("second", [f"root={root}"]))
    with pytest.raises(TrackingError, match=r"first contact|looking up"):
        run(load("nobody@champion", [f"root={root}", "tracking.uri=http://127.0.0.1:9", "tracking.enabled=true"]))


def test_an_unknown_field_is_refused(root: Path) -> None:
    with pytest.raises(ConfigError, match=r"evaluation\.thresholds"):
        run(load("first", [f"root={root}", "evaluation.treshold=3"]))


def test_the_config_of_an_evaluation_reads_back(root: Path) -> None:
    from attn.runs.evaluate import EvaluateModelConfig

    result = run(load("first", [f"root={root}", "panels=0", "data.count=2"]))
    text = Path(result.folder, "config.yaml").read_text()
    assert resolve(EvaluateModelConfig, text, "config.yaml", []).data.split == "val"
