"""What a stage of a pipeline depends on. A stage that version 0.1 finished keeps its key, so it is not repeated."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from attn.config.base import Config
from attn.data.source_cache import SourceCache
from attn.data.sources.coco import CocoConfig
from attn.data.sources.voc import VocConfig
from attn.runs.pipeline import read_pipeline
from attn.segmentation.labels import CueLabels
from attn.segmentation.map_sources import PipelineMaps
from attn.training.config import CheckpointConfig, EarlyStoppingConfig, TrainingConfig
from jobs.pipeline import KEY_LENGTH
from jobs.stages.order import stages_of
from jobs.stages.outputs import CuesOutputs, PipelineOutputs, TrainOutputs
from jobs.stages.stage import StageContext, config_inputs

TEXT = """
kind: pipeline
data: DATA
train: {model: {name: tiny, weights: null}, method: {name: grad_cam}, training: {epochs: 2}}
segment: {model: {name: tiny, weights: null}, labels: {rule: {name: sec}}, method: {name: cross_entropy}}
maps: {classes: both}
evaluation: {}
"""
TRAINED = TrainOutputs(model="m", metrics={}, weights="w", store="s", store_version=1, store_digest="s")
DONE = PipelineOutputs(
    {
        "train": TRAINED,
        "cues": CuesOutputs(cues="c", files=1, cues_digest="c", quality={}),
        "segment": TRAINED.model_copy(update={"weights": "x"}),
    }
)


@pytest.mark.parametrize(
    ("data", "keys"),
    [
        ("{source: scenes, count: 16}", ["a5e4b556", "bc72c87c", "36b3d2eb", "b3c835b8", "19602f2c"]),
        ("{source: voc, root: /data}", ["0c698865", "c910690e", "65f94819", "d28f22c3", "c45b2050"]),
        ("{source: coco, root: /data, split: train}", ["e530252d", "68bfef7e", "d64ea1eb", "2f22f4a1", "481782e6"]),
        ("{source: folder, root: /data}", ["b7903db1", "2779e963", "0d1e3f20", "c84ab5be", "cffb4213"]),
        (
            "{source: manifest, manifest: /data/table.csv, classes: [cat, dog]}",
            ["7f643661", "355921a2", "a7ebb297", "c770f606", "c8bb49a5"],
        ),
    ],
)
def test_a_stage_has_the_key_that_version_0_1_gave_it(data: str, keys: list[str]) -> None:
    """The keys are what version 0.1 computes of the same text; new fields at their defaults change none."""
    config = read_pipeline(TEXT.replace("DATA", data), "p.yaml")
    context = StageContext(
        config, DONE, lambda _, parts: {"fingerprint": "f", "content": "".join(parts)}, SourceCache()
    )
    inputs = [json.dumps(stage.inputs(context), sort_keys=True) for stage in stages_of(config).values()]
    assert [hashlib.sha256(one.encode()).hexdigest()[:KEY_LENGTH] for one in inputs] == keys


@pytest.mark.parametrize(
    ("config", "field"),
    [
        (TrainingConfig(epochs=1, class_weights="balanced"), "class_weights"),
        (TrainingConfig(epochs=1, sampling="balanced"), "sampling"),
        (TrainingConfig(epochs=1, early_stopping=EarlyStoppingConfig(metric="val/loss")), "early_stopping"),
        (CheckpointConfig(best="val/loss"), "best"),
        (VocConfig(root="/data", classes=("cat",)), "classes"),
        (CocoConfig(root="/data", max_pixels=1000), "max_pixels"),
        (CueLabels(maps=PipelineMaps(), threshold="saliency_agreement"), "threshold"),
        (CueLabels(maps=PipelineMaps(), saliency="u2netp", saliency_model="/u.onnx"), "saliency_model"),
    ],
)
def test_a_new_field_that_is_set_is_an_input(config: Config, field: str) -> None:
    default = config.model_copy(update={field: type(config).model_fields[field].default})
    assert field in config_inputs(config)
    assert field not in config_inputs(default)


def test_weights_of_a_refinement_count_by_content(tmp_path: Path) -> None:
    """Of a training that selects its epochs by refined maps: another place is the same, another content is not."""

    def inputs(folder: str, content: bytes) -> str:
        file = tmp_path / folder / "w.pth"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(content)
        refine = f"validation: {{maps: {{refine: {{name: affinity, weights: {file}}}}}}}"
        text = TEXT.replace("DATA", "{source: scenes, count: 16}").replace("train: {", f"train: {{{refine}, ")
        config = read_pipeline(text, "p.yaml")
        context = StageContext(config, DONE, lambda _, parts: {"fingerprint": "f"}, SourceCache())
        return json.dumps(stages_of(config)["train"].inputs(context), sort_keys=True)

    first = inputs("a", b"1")
    assert inputs("b", b"1") == first
    assert inputs("a", b"2") != first


def test_a_list_of_images_with_masks_counts_by_content(tmp_path: Path) -> None:
    def inputs(name: str, content: str) -> str:
        (tmp_path / name).write_text(content)
        method = f"method: {{name: gain, extra_supervision: masks, extra_list: {tmp_path / name}}}"
        text = TEXT.replace("DATA", "{source: scenes, count: 16}").replace("method: {name: grad_cam}", method)
        config = read_pipeline(text, "p.yaml")
        context = StageContext(config, DONE, lambda _, parts: {"fingerprint": "f"}, SourceCache())
        return json.dumps(stages_of(config)["train"].inputs(context), sort_keys=True)

    first = inputs("a", "train-000001")
    assert inputs("b", "train-000001") == first
    assert inputs("a", "train-000002") != first
