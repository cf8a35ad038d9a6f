"""The measured time of a pipeline: of each stage, with all of its images, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from attn.errors import DataError
from attn.runs.pipeline import read_pipeline
from jobs.stages import maps
from jobs.stages.order import STAGES
from jobs.stages.outputs import MapsOutputs, StageOutputs
from jobs.stages.stage import StageContext
from jobs.sweeps import measured_stages
from jobs.sweeps.costs import MODEL_SECONDS, Costs
from jobs.sweeps.measured_stages import measured_pipeline
from jobs.sweeps.measured_steps import measured_costs
from tests.jobs.pipelines import NAMES, TEXT, config

COSTS = Costs((2.0, 3.0, 4.0), "given", setup=0.5, ray=10.0, workers=1.0)
TRAINING = 2 * (3.0 + 0.5 + 1.0) + MODEL_SECONDS
"""Seconds of two epochs by these costs, with data and network, and workers, of driver and worker."""
WITH_ALL = """
integral:
  input: {size: 32}
  model: {name: tiny, weights: null, stride: 4, widths: [8, 8, 8], head: conv}
  method: {name: oaa_plus, maps: of the stages before}
  training: {epochs: 2, batch_size: 4}
refine: {name: pamr, iterations: 1}
"""
OVERRIDES = [
    "train.store.accumulate=true",
    "train.store.start_epoch=0",
    "segment.retrain={training: {epochs: 2, batch_size: 8}, labels: {crf: null}}",
    "cluster.workers=1",
]


@pytest.fixture
def given_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measured_stages, "measured_costs", lambda *_: COSTS)


@pytest.mark.usefixtures("given_costs")
def test_every_stage_has_its_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = list[str]()

    def costs(training: Any, start: tuple[float, float]) -> Costs:
        measured.append(training.method.variant)
        if training.method.variant == "oaa_plus":  # on the maps of an untrained network
            assert min(measured_costs(training, start).epoch) > 0
        return COSTS

    monkeypatch.setattr(measured_stages, "measured_costs", costs)
    asked = read_pipeline(TEXT + WITH_ALL, "whole.yaml", [f"root={tmp_path}/runs", *OVERRIDES])
    assert list(asked.stages()) == list(STAGES)
    estimate = measured_pipeline(asked, (10.0, 1.0))
    assert measured == ["grad_cam", "oaa_plus", "cross_entropy", "cross_entropy"]
    assert list(estimate.parts) == ["start of Ray", *asked.stages()]
    assert estimate.seconds == pytest.approx(sum(estimate.parts.values()))
    assert [estimate.parts[name] for name in ("train", "integral", "segment")] == [TRAINING] * 3
    assert estimate.parts["retrain"] >= TRAINING, "it makes masks too"
    assert estimate.between is not None
    assert estimate.seconds is not None
    assert estimate.between[0] == pytest.approx(estimate.seconds - 4 * 2 * 1.0, abs=0.5), "by the fastest epochs"
    assert not (tmp_path / "runs").exists()
    assert "not measured" not in estimate.source


@pytest.mark.usefixtures("given_costs")
def test_a_stage_takes_its_fixed_time_and_that_of_each_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    run, runs = maps.MapsStage.run, list[int]()

    def timed(stage: maps.MapsStage, context: StageContext, folder: Any) -> MapsOutputs:
        outputs = run(stage, context, folder)
        clock[0] += 2 * outputs.images + (1 if runs else 30)  # the first one imports for half a minute
        runs.append(outputs.images)
        return outputs

    monkeypatch.setattr(maps.MapsStage, "run", timed)
    monkeypatch.setattr("jobs.sweeps.measured_stages.time.perf_counter", lambda: clock[0])
    estimate = measured_pipeline(config(tmp_path, "segment.data.count=100"), (10.0, 1.0))
    assert list(estimate.parts) == ["start of Ray", *NAMES]
    assert runs == [4, 4, 16]
    assert estimate.parts["maps"] == 30 + 2 * 100
    assert (estimate.parts["cues"], estimate.parts["evaluation"]) == (0.0, 0.0)
    assert estimate.seconds == 10 + 2 * TRAINING + 230


@pytest.mark.usefixtures("given_costs")
def test_a_stage_that_cannot_be_measured_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> StageOutputs:
        raise DataError("there is no map to write")

    monkeypatch.setattr(maps.MapsStage, "run", fail)
    estimate = measured_pipeline(config(tmp_path), (10.0, 1.0))
    assert list(estimate.parts) == ["start of Ray", "train", "segment", "evaluation"]
    assert "; maps is not measured: there is no map to write; cues is not measured" in estimate.source
    assert estimate.seconds == pytest.approx(sum(estimate.parts.values()))


@pytest.mark.usefixtures("given_costs")
def test_nothing_is_said_about_what_the_measurement_switches_off(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"{name}.register_as=masks" for name in ("tracking", "maps.tracking", "evaluation.tracking")]
    measured_pipeline(config(tmp_path, "tracking.enabled=true", *names), (10.0, 1.0))
    assert "no effect" not in "".join(capsys.readouterr())
