"""A pipeline repeats no finished stage, whatever ended it, and repeats what has changed.

But for one test, training itself is stood in for by an untrained network.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from attn.config.resolve import dump_config
from attn.data.source_cache import SourceCache
from attn.data.sources.generated import ScenesConfig
from attn.errors import ConfigError, RunError
from attn.files.locations import sha256_of
from attn.files.transfer import write_bytes
from attn.models.description import DESCRIPTION, WEIGHTS
from attn.runs.pipeline import PipelineConfig
from attn.runs.sweep.load import read_sweep, read_trial
from attn.runs.texts import LOCAL_TEXTS
from attn.segmentation.config import SegmentConfig
from attn.tracking import create_run
from attn.tracking.mlflow_children import children
from attn.training.run_config import RunConfig
from jobs import cues, pipeline, show, sweep, train
from jobs.resume import resume
from jobs.runs.run_folder import RunFolder
from jobs.stages import training
from jobs.stages.outputs import CuesOutputs
from jobs.sweeps.plan import make_plan
from jobs.sweeps.results import read_rows
from jobs.sweeps.trial_folder import trial_folder
from jobs.sweeps.trial_run import run_composed
from jobs.train import TrainResult
from tests.forks import forking
from tests.jobs.counts import counted
from tests.jobs.here import fit_here
from tests.jobs.pipelines import NAMES, TEXT, Untrained, config, repeated, untrained
from tests.saliency.networks import red_network


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    untrained(monkeypatch)


@pytest.mark.usefixtures("quickly")
def test_as_a_sweeps_trial_it_goes_on_in_the_trials_folder_and_record(tmp_path: Path) -> None:
    base = tmp_path / "tiny.yaml"
    base.write_text(TEXT)
    text = (
        f"kind: sweep\nrecipe: {base}\nroot: {tmp_path}/runs\nspace: {{segment.labels.rule.foreground: [0.2, 0.3]}}\n"
    )
    sweep_config, resolved = read_sweep(
        text + "search: {name: grid}\nobjective: {metric: miou}\n", "sweep.yaml", texts=LOCAL_TEXTS
    )
    folder = RunFolder(f"{tmp_path}/runs", "s")
    folder.write("sweep.yaml", dump_config(sweep_config))
    folder.update(kind="sweep", tracking_run=create_run(sweep_config.tracking, sweep_config.root, "s", sweep_config))
    swept = sweep._Sweep(sweep_config, resolved, folder)  # pyright: ignore[reportPrivateUsage]
    swept.plan = make_plan(sweep_config, resolved, cores=2, gpus=0)
    points = [swept.suggestions.point(number) for number in swept.left]
    for number, point in enumerate(points):
        swept.begin(number, point)
    begun = read_rows(folder)
    for row in begun:
        trial = trial_folder(folder, row.number)
        config = read_trial(trial.read("config.yaml").decode(), "config.yaml")
        assert isinstance(config, PipelineConfig)
        assert Path(run_composed(config, trial, sweep_config.objective), "model.json").exists()
    rows = read_rows(folder)
    assert [(row.state, row.values) for row in rows] == [("done", point) for point in points]
    # They differ by their cues' threshold: the second has taken what comes before from the first.
    messages = [trial_folder(folder, row.number).state().stages or {} for row in rows]
    assert [name for name in NAMES if messages[1][name].reused] == ["train", "maps"]
    assert messages[1]["maps"].folder == messages[0]["maps"].folder
    assert [row.tracking_run for row in rows] == [row.tracking_run for row in begun]
    assert all(0 <= (row.objective or 0) <= 1 and row.objective is not None for row in rows)
    result = children(f"sqlite:///{tmp_path}/runs/mlflow.db", folder.state().tracking_run or "")
    assert {row.tracking_run for row in rows} == set(result)


@pytest.mark.usefixtures("quickly")
def test_only_what_has_changed_is_repeated(tmp_path: Path) -> None:
    with counted() as counts:
        first = pipeline.run(config(tmp_path), run_id="p")
    # Validation's data once; the data of the masks with its labels, to be checked, and without, as in a test set.
    assert [counts[name] for name in ("parse PipelineConfig", "build train", "build val")] == [1, 1, 3]
    assert repeated(first) == NAMES
    assert {"miou", "cue_miou", "cue_coverage", "cue_precision"} <= set(first.scores)
    assert len(list(Path(first.masks).glob("*.png"))) == 8
    assert first.cues == {"saliency": "given by the data", "threshold": "0.3, fixed"}
    assert show.run("p", root=str(tmp_path)).cues == first.cues
    assert show.run(first.stages["cues"].run_id, root=str(tmp_path)).cues == first.cues
    record = json.loads((tmp_path / first.stages["cues"].run_id / "stage.json").read_text())
    outputs = CuesOutputs.read(record["outputs"])
    assert outputs is not None
    assert outputs.summary().endswith(" %; saliency given by the data; threshold 0.3, fixed"), "what the log says"

    again = pipeline.run(config(tmp_path), run_id="p")
    assert repeated(again) == []
    assert again.scores == first.scores

    other = pipeline.run(config(tmp_path, "segment.labels.rule.foreground=0.6"), run_id="p")
    assert repeated(other) == ["cues", "segment", "evaluation"]
    assert other.scores["cue_coverage"] != first.scores["cue_coverage"]
    assert repeated(pipeline.run(config(tmp_path), run_id="p")) == [], "the first threshold's results are still there"

    forced = pipeline.run(config(tmp_path), run_id="p", start="segment")
    assert repeated(forced) == ["segment", "evaluation"]
    assert forced.scores == first.scores
    assert repeated(pipeline.run(config(tmp_path), run_id="p")) == []

    (Path(first.stages["maps"].folder) / "store").rename(tmp_path / "gone")
    mended = pipeline.run(config(tmp_path), run_id="p")
    assert repeated(mended) == ["maps"], "the same maps again: what follows them is as it was"
    assert mended.scores == first.scores


@pytest.mark.usefixtures("quickly")
def test_what_another_configuration_lost_or_began_anew_leaves_the_rest(tmp_path: Path) -> None:
    other = "segment.labels.rule.foreground=0.6"
    first = pipeline.run(config(tmp_path), run_id="p")
    pipeline.run(config(tmp_path, other), run_id="p")
    shutil.rmtree(Path(first.stages["cues"].folder) / "cues")
    mended = pipeline.run(config(tmp_path), run_id="p")
    assert repeated(mended) == ["cues"]
    assert mended.stages["cues"].run_id == f"{first.stages['cues'].run_id}-2"
    assert repeated(pipeline.run(config(tmp_path, other), run_id="p")) == []
    anew = pipeline.run(config(tmp_path), run_id="p", start="segment")
    assert repeated(anew) == ["segment", "evaluation"]
    assert anew.scores == first.scores
    assert repeated(pipeline.run(config(tmp_path, other), run_id="p")) == []
    assert repeated(pipeline.run(config(tmp_path), run_id="p")) == []


@pytest.mark.usefixtures("quickly")
def test_what_is_to_be_begun_anew_still_is_after_an_interruption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    first = pipeline.run(config(tmp_path), run_id="p")
    with monkeypatch.context() as patch:
        patch.setattr(cues, "run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            pipeline.run(config(tmp_path), run_id="p", start="maps")
    again = pipeline.run(config(tmp_path), run_id="p")
    assert repeated(again) == ["cues", "segment", "evaluation"], "maps were made anew before"
    assert again.stages["maps"].run_id == f"{first.stages['maps'].run_id}-2"
    assert repeated(pipeline.run(config(tmp_path), run_id="p")) == []


@pytest.mark.usefixtures("quickly")
def test_other_weights_under_the_same_name_repeat_what_starts_from_them(tmp_path: Path) -> None:
    model = Path(pipeline.run(config(tmp_path), run_id="first").stages["train"].folder) / "model"
    overrides = f"segment.model.weights={model}"
    assert repeated(pipeline.run(config(tmp_path, overrides), run_id="p")) == NAMES
    assert repeated(pipeline.run(config(tmp_path, overrides), run_id="p")) == []
    state = torch.load(model / WEIGHTS, weights_only=True)
    torch.save({name: value + 1 for name, value in state.items()}, model / WEIGHTS)
    description = json.loads((model / DESCRIPTION).read_text())
    (model / DESCRIPTION).write_text(json.dumps(description | {"sha256": sha256_of(model / WEIGHTS)}))
    assert repeated(pipeline.run(config(tmp_path, overrides), run_id="p")) == ["segment", "evaluation"]


@pytest.mark.usefixtures("quickly")
def test_the_segmentation_network_starts_from_the_classifiers_backbone(tmp_path: Path) -> None:
    started = "segment.model.weights=null", "from_classifier=true"

    def backbones(result: dict[str, Any]) -> list[dict[str, torch.Tensor]]:
        places = [f"{result.stages[name].folder}/model/{WEIGHTS}" for name in ("train", "segment")]
        states = [torch.load(location, weights_only=True) for location in places]
        return [{name: value for name, value in state.items() if name.startswith("backbone.")} for state in states]

    def shifts(result: dict[str, Any]) -> list[float]:
        """By how much each parameter is off: the stand-in for training adds the same to all of them."""
        ours, theirs = backbones(result)
        return [float((theirs[name] - value).abs().max()) for name, value in ours.items() if value.is_floating_point()]

    # Without it both start from the same seed's values, so that the two seeds must differ.
    apart = pipeline.run(config(tmp_path, "segment.seed=1"), run_id="p")
    assert max(shifts(apart)) > 0.1
    joined = pipeline.run(config(tmp_path, "segment.seed=1", *started), run_id="p")
    assert repeated(joined) == ["segment", "evaluation"]
    assert max(shifts(joined)) < 0.07
    assert repeated(pipeline.run(config(tmp_path, "segment.seed=1", *started), run_id="p")) == []

    with pytest.raises(ConfigError, match=r"cannot start from the classifier's tiny \(8, 8, 8\)"):
        config(tmp_path, "segment.model.widths=[8,8,16]", *started)
    with pytest.raises(ConfigError, match=r"takes the place of segment.model.weights=.*some.pt"):
        config(tmp_path, "from_classifier=true", "segment.model.weights=some.pt")


def files(root: Path) -> str:
    """Scenes as files; gives the pipeline's data."""
    lines = ["image,labels,mask,saliency,id,split"]
    for split in ("train", "val"):
        source = ScenesConfig(split=split, count=8, size=32).build()
        for index, record in enumerate(source.records):
            example, name = source.load(index), f"{split}{index}"
            for kind in ("image", "mask", "saliency"):
                write_bytes(f"{root}/{kind}/{name}.png", cv2.imencode(".png", getattr(example, kind))[1].tobytes())
            labels = "|".join(source.classes[label] for label in record.labels)
            lines.append(f"image/{name}.png,{labels},mask/{name}.png,saliency/{name}.png,{name},{split}")
    (root / "table.csv").write_text("\n".join(lines))
    return (
        f"data={{source: manifest, manifest: {root}/table.csv, split: train, classes: [{', '.join(source.classes)}]}}"
    )


@pytest.mark.usefixtures("quickly")
def test_a_changed_file_repeats_the_stages_that_read_it(tmp_path: Path) -> None:
    overrides = files(tmp_path), "evaluation.data.split=val"

    def repeats() -> list[str]:
        return repeated(pipeline.run(config(tmp_path / "runs", *overrides), run_id="p"))

    def paint(name: str) -> None:
        cv2.imwrite(f"{tmp_path}/{name}.png", np.zeros_like(cv2.imread(f"{tmp_path}/{name}.png", -1)))

    assert repeats() == NAMES
    paint("saliency/train0")
    assert repeats() == ["cues", "segment", "evaluation"]
    paint("mask/val0")
    assert repeats() == ["evaluation"]
    paint("image/train0")
    assert repeats()[:2] == ["train", "maps"]
    assert repeats() == []


@pytest.mark.usefixtures("quickly")
def test_the_stages_are_children_of_one_record(tmp_path: Path) -> None:
    from mlflow import MlflowClient

    result = pipeline.run(config(tmp_path, "tracking.enabled=true"), run_id="p")
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    parent = client.get_run(result.tracking_run)
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics["miou"] == pytest.approx(result.scores["miou"])
    experiment = client.get_experiment_by_name("attn")
    assert experiment is not None
    outcome = client.search_runs([experiment.experiment_id], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    assert {run.info.run_name for run in outcome} == {stage.run_id for stage in result.stages.values()}


def killed(root: str, point: str) -> None:
    """Run the pipeline in a process of its own, and end it at a point."""
    patch = pytest.MonkeyPatch()
    untrained(patch)
    write, done, written = RunFolder.write, pipeline._Pipeline._end, list[str]()  # pyright: ignore[reportPrivateUsage]

    def writing(self: RunFolder, name: str, data: bytes | str) -> None:
        write(self, name, data)
        written.append(name)
        if point == "amid cues" and sum(name.startswith("cues/") for name in written) == 5:
            os.kill(os.getpid(), signal.SIGKILL)

    def finishing(self: Any, name: str, *arguments: Any, **options: Any) -> None:
        done(self, name, *arguments, **options)
        if point == f"after {name}":
            os.kill(os.getpid(), signal.SIGKILL)

    patch.setattr(RunFolder, "write", writing)
    patch.setattr(pipeline._Pipeline, "_end", finishing)  # pyright: ignore[reportPrivateUsage]
    pipeline.run(config(Path(root)), run_id="p")


@pytest.mark.slow
@pytest.mark.usefixtures("quickly")
def test_a_killed_pipeline_goes_on_where_it_was(tmp_path: Path) -> None:
    expected = pipeline.run(config(tmp_path / "whole"), run_id="p").scores
    root = tmp_path / "killed"
    for point, left in (("amid cues", {"train", "maps"}), ("after cues", {"train", "maps", "cues"})):
        process = forking(__name__).Process(target=killed, args=(str(root), point))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        state = json.loads((root / "p" / "run.json").read_text())
        assert state["state"] == "running"
        assert {name for name, stage in state["stages"].items() if stage["state"] == "done"} == left
    result = pipeline.run(config(root), run_id="p")
    assert repeated(result) == ["segment", "evaluation"]
    assert result.scores == expected


@pytest.mark.usefixtures("quickly")
def test_a_second_round_is_a_stage(tmp_path: Path) -> None:
    again = "segment.retrain={labels: {scales: [1.0], crf: null}, training: {steps: 1}}"
    result = pipeline.run(config(tmp_path, again), run_id="p")
    assert list(result.stages) == ["train", "maps", "cues", "segment", "retrain", "evaluation"]
    folder = Path(result.stages["retrain"].folder)
    assert result.model == f"{folder}/model"
    assert len(list((folder / "first_round").glob("*.png"))) == 16
    other = "segment.retrain={labels: {scales: [0.5], crf: null}, training: {steps: 1}}"
    assert repeated(pipeline.run(config(tmp_path, again), run_id="p")) == []
    assert repeated(pipeline.run(config(tmp_path, other), run_id="p"))[0] == "retrain"


@pytest.mark.usefixtures("quickly")
def test_ctrl_c_leaves_a_pipeline_cancelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    result = cues.run
    monkeypatch.setattr(cues, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pipeline.run(config(tmp_path), run_id="p")
    monkeypatch.setattr(cues, "run", result)
    assert RunFolder(str(tmp_path), "p").state().state == "cancelled"
    assert repeated(resume("p", root=str(tmp_path))) == ["cues", "segment", "evaluation"]


@pytest.mark.usefixtures("quickly")
def test_what_cannot_be_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="this pipeline has the stages train, maps, cues"):
        pipeline.run(config(tmp_path), run_id="p", start="integral")
    RunFolder(str(tmp_path), "p").update(kind="train", state="done")
    with pytest.raises(RunError, match="is of kind train, not pipeline"):
        pipeline.run(config(tmp_path), run_id="p")


class TrainedOnce(Untrained):
    """Classifiers trained here, their first training ended after one epoch; segmentation untrained."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.patch, self.resumed = patch, list[str]()

    def run(
        self, config: RunConfig, *, run_id: str, address: str | None = None, sources: SourceCache | None = None
    ) -> TrainResult:
        if isinstance(config, SegmentConfig):
            return super().run(config, run_id=run_id)
        with self.patch.context() as patch:

            def interrupted(config: RunConfig, *arguments: Any, **options: Any) -> dict[str, Any]:
                fit_here(shorten(config), *arguments, **options)
                raise KeyboardInterrupt

            patch.setattr(train, "_fit", interrupted)
            return train.run(config, run_id=run_id)

    def resume(self, run: str, *, address: str | None = None) -> TrainResult:
        if "-train-" not in run:
            return super().resume(run)
        self.resumed.append(run)
        return train.resume(run)


def shorten(config: RunConfig) -> RunConfig:
    return config.model_copy(update={"training": config.training.model_copy(update={"epochs": 1})})


@pytest.mark.slow
@pytest.mark.usefixtures("ray_up")
def test_a_training_stage_goes_on_from_its_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "_fit", fit_here)
    once, given = TrainedOnce(monkeypatch), config(tmp_path, "cluster.workers=1")
    monkeypatch.setattr(training, "train", once)
    with pytest.raises(KeyboardInterrupt):
        pipeline.run(given, run_id="p")
    result = pipeline.run(given, run_id="p")
    assert repeated(result) == NAMES
    folder = result.stages["train"].folder
    assert once.resumed == [folder]
    lines = [json.loads(line) for line in Path(folder, "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]


def test_cues_that_are_made_need_no_network_for_saliency(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    untrained(monkeypatch)
    file = tmp_path / "u2netp.onnx"
    given = [f"saliency_model={file}", f"saliency_sha256={red_network(file)}", "saliency=u2netp"]
    overrides = [f"segment.labels.{text}" for text in given] + ["tracking.enabled=false"]
    pipeline.run(config(tmp_path / "runs", *overrides), run_id="p")
    file.unlink()
    assert repeated(pipeline.run(config(tmp_path / "runs", *overrides), run_id="p")) == []
    with pytest.raises(ConfigError, match=r"segment\.labels\.saliency_model: .* no file"):
        pipeline.run(config(tmp_path / "runs", *overrides), run_id="p", start="cues")
