"""A pipeline repeats no finished stage, whatever ended it, and repeats what has changed.

Training itself is stood in for by an untrained network: tests/jobs/test_train.py has its checkpoints.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from attn.config.pipeline import PipelineConfig, read_pipeline
from attn.config.resolve import dump_config
from attn.config.run import RunConfig
from attn.config.segment import SegmentConfig
from attn.errors import ConfigError, RunError
from attn.segmentation.labels import FileLabels
from attn.tracking import create_run
from jobs import pipeline, stages
from jobs.kinds import kind_of
from jobs.run_folder import RunFolder

TEXT = """
kind: pipeline
data: {source: scenes, count: 16, size: 32}
cluster: {workers: 2}
tracking: {enabled: false, preview_images: 1}
train:
  input: {size: 32}
  model: {name: tiny, weights: null, stride: 4, widths: [8, 8, 8]}
  method: {name: grad_cam}
  training: {epochs: 2, batch_size: 8}
segment:
  input: {size: 32}
  labels: {rule: {name: sec, foreground: 0.3, background: 0.5}}
  model: {name: tiny, weights: null, stride: 4, widths: [8, 8, 8], hidden: 8}
  method: {name: cross_entropy}
  inference: {crf: null}
  training: {epochs: 2, batch_size: 8}
evaluation: {data: {count: 8}, panels: 1}
"""
NAMES = ["train", "maps", "cues", "segment", "evaluation"]


class Untrained:
    """In the place of `jobs.train`: a run whose network is as initialised, a little different by its cues."""

    def run(self, config: RunConfig, *, run_id: str, address: str | None = None) -> dict[str, Any]:
        folder = RunFolder(config.root, run_id)
        tracking_run = create_run(config.tracking, config.root, run_id, config)
        folder.write("config.yaml", dump_config(config))
        state_dict = config.build_parts(rank=0, world=1).network.state_dict()
        if isinstance(config, SegmentConfig) and isinstance(config.labels, FileLabels):
            digest = json.loads((Path(config.labels.path) / "cues.json").read_text())["digest"]
            state_dict = {name: value + int(digest[:4], 16) / 2**20 for name, value in state_dict.items()}
        state = {"kind": config.kind, "state": "done", "started": time.time(), "tracking_run": tracking_run}
        folder.update(**state, metrics={"val/miou": 0.5})
        shared = {"model": state_dict, "epochs": 1}
        kind_of(config).save(config, folder, shared, Path(folder.path("model")))
        return self.resume(folder.uri)

    def resume(self, run: str, *, address: str | None = None) -> dict[str, Any]:
        return {"model": f"{run}/model", "metrics": {"val/miou": 0.5}, "store": None}


def untrained(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(stages, "train", Untrained())
    patch.setattr(pipeline, "ray_session", lambda address: contextlib.nullcontext())


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    untrained(monkeypatch)


def config(root: Path, *overrides: str) -> PipelineConfig:
    return read_pipeline(TEXT, "tiny.yaml", [f"root={root}", *overrides])


def repeated(result: dict[str, Any]) -> list[str]:
    return [name for name, stage in result["stages"].items() if not stage["reused"]]


@pytest.mark.usefixtures("quickly")
def test_only_what_has_changed_is_repeated(tmp_path: Path) -> None:
    first = pipeline.run(config(tmp_path), run_id="p")
    assert repeated(first) == NAMES
    assert {"miou", "cue_miou", "cue_coverage", "cue_precision"} <= set(first["scores"])
    assert len(list(Path(first["masks"]).glob("*.png"))) == 8

    again = pipeline.run(config(tmp_path), run_id="p")
    assert repeated(again) == []
    assert again["scores"] == first["scores"]

    other = pipeline.run(config(tmp_path, "segment.labels.rule.foreground=0.6"), run_id="p")
    assert repeated(other) == ["cues", "segment", "evaluation"]
    assert other["scores"]["cue_coverage"] != first["scores"]["cue_coverage"]
    assert repeated(pipeline.run(config(tmp_path), run_id="p")) == [], "the first threshold's results are still there"

    forced = pipeline.run(config(tmp_path), run_id="p", start="segment")
    assert repeated(forced) == ["segment", "evaluation"]
    assert forced["scores"] == first["scores"]
    assert repeated(pipeline.run(config(tmp_path), run_id="p")) == []

    (Path(first["stages"]["maps"]["folder"]) / "store").rename(tmp_path / "gone")
    mended = pipeline.run(config(tmp_path), run_id="p")
    assert repeated(mended) == ["maps"], "the same maps again: what follows them is as it was"
    assert mended["scores"] == first["scores"]


@pytest.mark.usefixtures("quickly")
def test_the_stages_are_children_of_one_record(tmp_path: Path) -> None:
    from mlflow import MlflowClient

    result = pipeline.run(config(tmp_path, "tracking.enabled=true"), run_id="p")
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    parent = client.get_run(result["tracking_run"])
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics["miou"] == pytest.approx(result["scores"]["miou"])
    experiment = client.get_experiment_by_name("attn")
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    assert {run.info.run_name for run in found} == {stage["run_id"] for stage in result["stages"].values()}


def killed(root: str, point: str) -> None:
    """Run the pipeline in a process of its own, and end it at a point."""
    patch = pytest.MonkeyPatch()
    untrained(patch)
    write, done, written = RunFolder.write, pipeline._Pipeline._done, list[str]()  # pyright: ignore[reportPrivateUsage]

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
    patch.setattr(pipeline._Pipeline, "_done", finishing)  # pyright: ignore[reportPrivateUsage]
    pipeline.run(config(Path(root)), run_id="p")


@pytest.mark.slow
@pytest.mark.usefixtures("quickly")
def test_a_killed_pipeline_goes_on_where_it_was(tmp_path: Path) -> None:
    expected = pipeline.run(config(tmp_path / "whole"), run_id="p")["scores"]
    root = tmp_path / "killed"
    for point, left in (("amid cues", {"train", "maps"}), ("after cues", {"train", "maps", "cues"})):
        process = multiprocessing.get_context("spawn").Process(target=killed, args=(str(root), point))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        state = json.loads((root / "p" / "run.json").read_text())
        assert state["state"] == "running"
        assert {name for name, stage in state["stages"].items() if stage["state"] == "done"} == left
    result = pipeline.run(config(root), run_id="p")
    assert repeated(result) == ["segment", "evaluation"]
    assert result["scores"] == expected


@pytest.mark.usefixtures("quickly")
def test_ctrl_c_leaves_a_pipeline_cancelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    made = stages.cues.run
    monkeypatch.setattr(stages.cues, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pipeline.run(config(tmp_path), run_id="p")
    monkeypatch.setattr(stages.cues, "run", made)
    assert RunFolder(str(tmp_path), "p").state()["state"] == "cancelled"
    assert repeated(pipeline.resume("p", root=str(tmp_path))) == ["cues", "segment", "evaluation"]


@pytest.mark.usefixtures("quickly")
def test_what_cannot_be_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="this pipeline has the stages train, maps, cues"):
        pipeline.run(config(tmp_path), run_id="p", start="integral")
    RunFolder(str(tmp_path), "p").update(kind="train", state="done")
    with pytest.raises(RunError, match="no pipeline"):
        pipeline.run(config(tmp_path), run_id="p")
