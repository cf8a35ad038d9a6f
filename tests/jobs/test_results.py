"""The keys that programs read: of `--json` for each kind of result, and of a stage's `stage.json`.

They are written out here because tests that read attributes would follow a renamed field.
"""

from __future__ import annotations

from dataclasses import fields

import pytest

from attn.prediction.export import Exported
from attn.run_state import RunState
from attn.runs.result import ComposedResult, JsonResult
from jobs.compare import CompareResult
from jobs.cues import CuesResult
from jobs.difference import DifferenceResult
from jobs.evaluate import EvaluateResult
from jobs.growth import GrowthResult
from jobs.maps import MapsResult
from jobs.pipeline import PipelineResult
from jobs.predict import PredictResult
from jobs.registry import ExportedModel, Promotion, RegistryListing
from jobs.repro import Recipe
from jobs.resume import EndedRun
from jobs.segment_predict import MasksResult
from jobs.stages.outputs import CuesOutputs, EvaluationOutputs, MapsOutputs, StageOutputs, TrainOutputs
from jobs.sweeps.estimate import Estimate
from jobs.sweeps.results import Row, SweepResult
from jobs.train import TrainResult

RESULTS: list[tuple[type[JsonResult], str]] = [
    (ComposedResult, "run_id folder scores model"),
    (
        TrainResult,
        "run_id folder cues model metrics best stopped_early store store_version tracking_run seconds first_round",
    ),
    (
        EvaluateResult,
        "run_id folder model weights maps version data images masked scores protocols thresholds predict notes "
        "per_class tracking_run seconds",
    ),
    (
        MapsResult,
        "run_id folder model of version images maps predictions notes png store store_version tracking_run seconds",
    ),
    (
        MasksResult,
        "run_id folder model data images masked masks submission scores protocols notes per_class tracking_run seconds",
    ),
    (CuesResult, "run_id folder report score sheet best grid grid_csv grid_picture tracking_run seconds"),
    (CompareResult, "run_id folder picture images tracking_run overlap"),
    (PipelineResult, "run_id folder scores model masks cues notes stages tracking_run seconds"),
    (SweepResult, "run_id folder trials counts metric best recipe registered tracking_run seconds"),
    (Row, "number state values objective epoch seconds model error tracking_run cause"),
    (PredictResult, "model task weights maps folder predicted images failed summary seconds"),
    (GrowthResult, "store run pictures"),
    (Recipe, "kind command first_command commit attn python seed workers threads data inputs metrics weights notes"),
    (
        DifferenceResult,
        "a b config data code environment packages weights metrics_of metrics why_not rounding scores unscored",
    ),
    (Estimate, "seconds between source parts"),
    (RegistryListing, "registry models"),
]


@pytest.mark.parametrize(("result", "keys"), RESULTS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_result_keeps_its_keys(result: type[JsonResult], keys: str) -> None:
    assert result is CuesResult or "to_json" not in vars(result), "its keys are not its fields"
    assert [field.name for field in fields(result)] == keys.split()


@pytest.mark.parametrize(
    ("result", "keys"),
    [
        (EndedRun(run_id="r", folder="f", state=RunState.of({"id": "r", "kind": "maps", "state": "done"})),
         "run_id folder id kind state"),
        (Promotion("gain", 2, "champion", None, None), "name version alias before classes compared not_compared"),
        (ExportedModel("m", Exported("m.onnx", "onnx", (), (), (), {}, [])),
         "model file format outputs dynamic inputs differences notes"),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_a_result_adds_keeps_its_keys(result: JsonResult, keys: str) -> None:
    assert list(result.to_json()) == keys.split()


@pytest.mark.parametrize(
    ("outputs", "values"),
    [
        (
            TrainOutputs,
            {"model": "m", "metrics": {"val/mean_ap": 0.5}, "weights": "1", "store": "s", "store_version": 2,
             "stored": "2"},
        ),
        (MapsOutputs, {"png": "p", "drawn": "1", "images": 4, "maps": 5}),
        (MapsOutputs, {"store": "s", "store_version": 2, "stored": "2", "images": 4, "maps": 5}),
        (CuesOutputs, {"cues": "c", "files": 3, "cued": "1", "quality": {"miou": 0.5}}),
        (
            EvaluationOutputs,
            {"scores_file": "f", "scores": {"miou": 0.5}, "masks": "m", "scored": "1", "protocols": {"miou": "h"},
             "images": 4},
        ),
    ],
)  # fmt: skip
def test_a_stages_record_keeps_its_keys(outputs: type[StageOutputs], values: dict[str, object]) -> None:
    assert outputs.model_validate(values).to_json() == values
