"""A tiny pipeline, whose trainings may be stood in for by untrained networks."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path

import pytest

from attn.config.resolve import dump_config
from attn.data.source_cache import SourceCache
from attn.runs.pipeline import PipelineConfig, read_pipeline
from attn.runs.table import build_components
from attn.segmentation.config import SegmentConfig
from attn.segmentation.labels import FileLabels
from attn.tracking import create_run
from attn.training.run_config import RunConfig
from jobs import pipeline, segment
from jobs.pipeline import PipelineResult
from jobs.runs.run_folder import RunFolder
from jobs.stages import training
from jobs.train import TrainResult
from jobs.training.hooks import TrainingRun, hooks_of

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

    def run(
        self, config: RunConfig, *, run_id: str, address: str | None = None, sources: SourceCache | None = None
    ) -> TrainResult:
        folder = RunFolder(config.root, run_id)
        tracking_run = create_run(config.tracking, config.root, run_id, config)
        folder.write("config.yaml", dump_config(config))
        state_dict = build_components(config, rank=0, world=1, sources=sources).network.state_dict()
        if isinstance(config, SegmentConfig) and isinstance(config.labels, FileLabels) and config.model.weights is None:
            digest = json.loads((Path(config.labels.path) / "cues.json").read_text())["digest"]
            state_dict = {name: value + int(digest[:4], 16) / 2**20 for name, value in state_dict.items()}
        state = {"kind": config.kind, "state": "done", "started": time.time(), "tracking_run": tracking_run}
        folder.update(**state, metrics={"val/miou": 0.5})
        shared = {"model": state_dict, "epochs": 1}
        hooks_of(config).save(TrainingRun(config, folder, sources or SourceCache()), shared, Path(folder.path("model")))
        return self.resume(folder.uri)

    def resume(self, run: str, *, address: str | None = None) -> TrainResult:
        return TrainResult(
            run_id=run.rpartition("/")[2],
            folder=run,
            model=f"{run}/model",
            metrics={"val/miou": 0.5},
            store=None,
            store_version=None,
            tracking_run=None,
            seconds=0.0,
        )


def untrained(patch: pytest.MonkeyPatch) -> None:
    for module in (training, segment):
        patch.setattr(module, "train", Untrained())
    patch.setattr(pipeline, "ray_session", lambda address: contextlib.nullcontext())


def config(root: Path, *overrides: str) -> PipelineConfig:
    return read_pipeline(TEXT, "tiny.yaml", [f"root={root}", *overrides])


def repeated(result: PipelineResult) -> list[str]:
    return [name for name, stage in result.stages.items() if not stage.reused]
