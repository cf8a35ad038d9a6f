"""Files that only a later stage of a run reads, and that are not there: said before the first stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from attn.errors import ConfigError, WeightsError
from attn.runs.config_notices import config_notices
from attn.runs.pipeline import load_pipeline
from attn.runs.recipes import load_any_run
from attn.saliency.u2netp import FILE_NAME
from jobs.stages.data import PipelineData
from tests.saliency.networks import red_network

PIPELINE = "gain_segment_scenes"
SMALL = [f"{section}.data.count=4" for section in ("train", "segment", "evaluation")]


@pytest.fixture(autouse=True)
def _no_network_of_saliency(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("attn.saliency.u2netp.metadata.distributions", lambda: iter(()))
    monkeypatch.setenv("U2NET_HOME", str(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("overrides", "field", "message"),
    [
        (["segment.labels.saliency=u2netp"], "segment.labels.saliency", "set segment.labels.saliency_model=PATH"),
        (
            ["segment.labels.saliency=u2netp", "segment.labels.saliency_model={}/gone.onnx"],
            "segment.labels.saliency_model",
            "there is no file or folder {}/gone.onnx",
        ),
        (
            ["from_classifier=false", "segment.model.weights={}/gone.pt"],
            "segment.model.weights",
            "there is no file or folder {}/gone.pt",
        ),
        (["train.model.weights={}/gone"], "train.model.weights", "there is no file or folder {}/gone"),
        (
            ["maps.refine={{name: affinity, weights: {}/vit.pt}}"],
            "maps.refine.weights",
            "there is no file or folder {}/vit.pt",
        ),
        (
            ["train.validation.maps.refine={{name: affinity, weights: {}/vit.pt}}"],
            "train.validation.maps.refine.weights",
            "there is no file or folder {}/vit.pt",
        ),
    ],
)
def test_a_pipeline_says_before_its_first_stage_which_file_is_missing(
    tmp_path: Path, overrides: list[str], field: str, message: str
) -> None:
    given = [*SMALL, *(text.format(tmp_path) for text in overrides)]
    config = load_pipeline(PIPELINE, given)
    notices = [text for text in config_notices(config) if text.startswith(f"{field}: ")]
    assert len(notices) == 1
    assert message.format(tmp_path) in notices[0]
    assert not [text for text in config_notices(config, files=False) if "no file" in text]
    with pytest.raises(ConfigError) as raised:
        PipelineData().check(config)
    assert [fault.where for fault in raised.value.faults] == [field]
    assert message.format(tmp_path) in str(raised.value)


def test_a_file_that_is_there_is_no_notice_and_one_that_is_another_stops_the_pipeline_at_its_start(
    tmp_path: Path,
) -> None:
    digest = red_network(tmp_path / FILE_NAME)
    given = [*SMALL, "segment.labels.saliency=u2netp", f"segment.labels.saliency_model={tmp_path / FILE_NAME}"]
    assert not config_notices(load_pipeline(PIPELINE, given))
    with pytest.raises(WeightsError, match=r"set segment\.labels\.saliency_sha256 as well"):
        PipelineData().check(load_pipeline(PIPELINE, given))
    PipelineData().check(load_pipeline(PIPELINE, [*given, f"segment.labels.saliency_sha256={digest}"]))


@pytest.mark.parametrize(
    ("recipe", "overrides", "field"),
    [
        ("sec", ["labels.saliency=u2netp", "labels.maps.model=gain"], "labels.saliency"),
        ("scenes_gain", ["model.weights={}/gone.pt"], "model.weights"),
        ("sweep_scenes_gain", ["set.model.weights={}/gone.pt"], "model.weights"),
    ],
)
def test_other_runs_have_the_notice_too(tmp_path: Path, recipe: str, overrides: list[str], field: str) -> None:
    loaded: Any = load_any_run(recipe, [text.format(tmp_path) for text in overrides])
    assert [text.partition(":")[0] for text in config_notices(loaded)] == [field]
