"""The quick start: from images to masks on generated scenes, by Grad-CAM, GAIN and OAA+, scored and drawn side by side.

Run by `make demo`, or `python -m jobs.demo`. Each method is a pipeline trained by two workers; all go by one name and
share one Ray session, and what two of them have in common is done once.
"""

from __future__ import annotations

__all__ = ["main"]

import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rich import box
from rich.console import Console
from rich.table import Table

from attn import progress
from attn.data.decode import read_mask
from attn.data.source import MAX_CLASSES
from attn.display import percent
from attn.errors import AttnError
from attn.files.locations import join
from attn.maps.dense_crf import crf_fault
from attn.pictures.comparison import comparison
from attn.pictures.layout import Picture, heading
from attn.pictures.tiles import PanelData
from attn.runs.evaluate import EvaluateModelConfig
from attn.runs.pipeline import PipelineConfig, load_pipeline
from attn.segmentation.masks import mask_name
from attn.tracking.address import tracking_uri
from attn.wording import counted
from jobs import evaluate, pipeline
from jobs.ray_cluster.session import ray_session
from jobs.runs.run_folder import RunFolder, new_run_id
from jobs.scoring.targets import ModelTarget

ACCUMULATED = ("train.recipe=scenes_grad_cam", "train.store.accumulate=true")
"""Grad-CAM's training keeps the maps of all of its epochs, from which OAA+ learns: one training for both."""
METHODS = {
    "Grad-CAM": ("grad_cam_segment_scenes", (*ACCUMULATED, "maps.classes=labels")),
    "GAIN": ("gain_segment_scenes", ("train.method.warmup_epochs=7",)),
    "OAA+": ("oaa_plus_segment_scenes", ACCUMULATED),
}
"""Recipe of each pipeline, and what is different from it."""
CRF = "{bilateral_weight: 3, bilateral_xy: 10, bilateral_rgb: 13, gaussian_weight: 1, gaussian_xy: 1}"
"""For scenes of 64 pixels: distances as parts of the image are about those of photographs."""
SETTINGS = (
    "cluster.workers=2",
    "tracking.preview_images=3",
    "data.count=600",
    "train.training.epochs=12",
    "train.validation.every_epochs=12",
    "integral.training.epochs=8",
    "integral.validation.every_epochs=8",
    "segment.training.epochs=4",
    "segment.validation.every_epochs=4",
    "evaluation.data.split=test",
    "evaluation.data.count=200",
)
"""Over the recipes, for the sake of time."""
SHOWN = {
    "mean_ap": "mAP",
    "seed_miou": "map mIoU (seed)",
    "direct_miou": "map mIoU (direct)",
    "coverage": "object covered",
    "cue_miou": "cue mIoU, train",
    "miou": "mask mIoU",
    "miou_crf": "mask mIoU, CRF",
}
PANELS, HEIGHT = 5, 88


@dataclass(frozen=True)
class DemoResult:
    """The scores by method, and the picture's file."""

    scores: dict[str, dict[str, float]]
    picture: str


def main(overrides: list[str]) -> DemoResult:
    """Train, score and draw.

    Args:
        overrides: `a.b=value`, for all of the pipelines; those of a stage that a pipeline has not are passed over.
    """
    console, started = Console(), time.monotonic()
    scores: dict[str, dict[str, float]] = {}
    panels: dict[str, list[PanelData]] = {}
    demo, scored_on = new_run_id("demo"), ""
    configs = {title: _config(*method, overrides) for title, method in METHODS.items()}
    root = next(iter(configs.values())).root
    record = tracking_uri(next(iter(configs.values())).tracking, root)
    with ray_session():
        for title, config in configs.items():
            console.print(
                f"[bold]{title}[/bold]: a classifier, its maps, and a network for masks that learns from them"
            )
            result = pipeline.run(config, run_id=demo)
            assert result.masks is not None, "the recipes keep them"
            scored, maps = evaluate.score(_classifier(config, f"{result.stages[_last(config)].folder}/model"))
            scored_on = f"{scored.data}: {counted(scored.images, 'image')}; percent"
            scores[title] = scored.scores | result.scores
            panels[title] = [_with_mask(one, result.masks) for one in maps]
    folder = RunFolder(root, demo)
    folder.write("comparison.png", _picture(panels).png())
    console.print(_table(scores, scored_on))
    console.print(f"picture:   {folder.path('comparison.png')}", soft_wrap=True)
    console.print(f"more:      {root}/{demo}-*/preview, panels and sheet.png", soft_wrap=True)
    console.print(f"browser:   .venv/bin/attn view {shlex.quote(folder.uri)}", soft_wrap=True)
    console.print(f"MLflow:    .venv/bin/mlflow ui --backend-store-uri {shlex.quote(record)}", soft_wrap=True)
    console.print(f"{time.monotonic() - started:.0f} seconds")
    return DemoResult(scores, folder.path("comparison.png"))


def _config(recipe: str, settings: Sequence[str], overrides: Sequence[str]) -> PipelineConfig:
    """A method's pipeline, with those settings that are for stages which it has."""
    crf = f"evaluation.inference.crf={'null' if crf_fault() else CRF}"
    integral = load_pipeline(recipe, [crf]).integral is not None
    given = (*settings, *SETTINGS, crf, *overrides)
    return load_pipeline(recipe, [text for text in given if integral or not text.startswith("integral.")])


def _last(config: PipelineConfig) -> str:
    """The stage that trains the classifier whose maps are scored."""
    return "integral" if config.integral else "train"


def _classifier(config: PipelineConfig, model: str) -> ModelTarget:
    """The classifier, scored on the images that the segmentation network is scored on."""
    scored = EvaluateModelConfig(
        root=config.root, data=config.evaluation.data, input=config.classifier.input, panels=PANELS
    )
    return ModelTarget.open(model, scored)


def _with_mask(data: PanelData, masks: str) -> PanelData:
    mask = read_mask(join(masks, mask_name(data.image_id)), data.image.shape[:2], MAX_CLASSES)
    return replace(data, masks={"mask": mask, **data.masks})


def _picture(panels: dict[str, list[PanelData]]) -> Picture:
    subtitle = "generated scenes, test split"
    return heading(comparison(panels, height=HEIGHT), "Where the classifier looks, and what becomes of it", subtitle)


def _table(scores: dict[str, dict[str, float]], title: str) -> Table:
    table = Table(title=title, title_style="bold", box=box.SIMPLE, pad_edge=False)
    table.add_column("method", no_wrap=True)
    shown = [name for name in SHOWN if all(name in item for item in scores.values())]  # there may be no CRF
    for label in (SHOWN[name] for name in shown):
        table.add_column(label, justify="right", min_width=max(map(len, label.split())))
    for method, item in scores.items():
        table.add_row(method, *(percent(item[name]) for name in shown))
    return table


if __name__ == "__main__":
    try:
        with progress.shown():
            main(sys.argv[1:])
    except AttnError as error:
        sys.exit(str(error))
