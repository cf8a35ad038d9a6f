"""What was done before an object store went away is not taken for gone: it would be done again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from attn.errors import StorageAwayError
from attn.files import transfer
from jobs.runs.run_folder import RunFolder
from jobs.scoring import recorded
from jobs.stages import outputs
from jobs.stages.outputs import CuesOutputs, EvaluationOutputs, MapsOutputs, StageOutputs, TrainOutputs
from jobs.sweeps.objective_scores import read_scores
from jobs.sweeps.results import read_rows
from jobs.sweeps.trial_folder import trial_folder

STAGES: list[StageOutputs] = [
    TrainOutputs(model="s3://b/model", metrics={}, weights="0"),
    MapsOutputs(png="s3://b/maps", png_digest="0", images=1, maps=1),
    CuesOutputs(cues="s3://b/cues", files=1, cues_digest="0", quality={}),
    EvaluationOutputs(
        scores_file="s3://b/scores.json", scores={}, masks=None, scores_digest="0", protocols={}, images=1
    ),
]


def away(*_: object) -> bytes:
    raise StorageAwayError("s3://b: the object store cannot be reached")


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: type(stage).__name__)
def test_outputs_of_a_stage(stage: StageOutputs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs, "read_bytes", away)
    monkeypatch.setattr(outputs, "list_below", away)
    with pytest.raises(StorageAwayError):
        type(stage).read(stage.to_json())


@pytest.mark.parametrize("read", [read_scores, recorded._read])  # pyright: ignore[reportPrivateUsage]
@pytest.mark.parametrize("request_", ["exists", "read"])
def test_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Callable[[RunFolder], object], request_: str
) -> None:
    folder = RunFolder(str(tmp_path), "r")
    for name in ("objective.json", "scores.json"):
        folder.write(name, json.dumps({"scores": {}}))
    monkeypatch.setattr(*((transfer, "exists", away) if request_ == "exists" else (RunFolder, "read", away)))
    with pytest.raises(StorageAwayError):
        read(folder)


def test_trials_of_a_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunFolder(str(tmp_path), "s")
    folder.write("sweep.yaml", "objective: {metric: m}\n")
    for number in range(2):
        trial_folder(folder, number).begin(kind="train", number=number, values={}, state="done")
    assert len(read_rows(folder)) == 2
    real = RunFolder.read
    monkeypatch.setattr(RunFolder, "read", lambda self, name: away() if self.run_id == "s-0001" else real(self, name))
    with pytest.raises(StorageAwayError):
        read_rows(folder)
