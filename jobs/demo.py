"""The quick start: Grad-CAM and GAIN on generated scenes, trained by two workers each, scored and drawn side by side.

Run by `make demo`, or `python -m jobs.demo`.
"""

from __future__ import annotations

__all__ = ["main"]

import sys
import time
from typing import Any

from rich.console import Console
from rich.table import Table

from attn.config.recipes import load_config
from attn.config.train import TrainConfig
from attn.errors import AttnError
from attn.pictures.layout import heading
from attn.pictures.panel import Looked, comparison
from jobs import evaluate, train
from jobs.ray_session import ray_session
from jobs.run_folder import RunFolder, new_run_id

METHODS = {"Grad-CAM": "scenes_grad_cam", "GAIN": "scenes_gain"}
SHOWN = {
    "mean_ap": "mAP",
    "seed_miou": "map mIoU (seed)",
    "direct_miou": "map mIoU (direct)",
    "coverage": "object covered",
    "pointing": "pointing",
}
SCORED = ["data.split=test", "panels=6"]


def main(overrides: list[str]) -> dict[str, Any]:
    """Train, score and draw.

    Args:
        overrides: `a.b=value`, for both methods.

    Returns:
        The scores by method, and the places of the pictures.
    """
    console, started = Console(), time.monotonic()
    results: dict[str, dict[str, Any]] = {}
    looked: dict[str, list[Looked]] = {}
    demo = new_run_id("demo")
    configs = {
        title: load_config(TrainConfig, name, ["cluster.workers=2", *overrides]) for title, name in METHODS.items()
    }
    root = next(iter(configs.values())).root
    with ray_session():
        for title, config in configs.items():
            console.print(f"[bold]{title}[/bold]: training {config.training.epochs} epochs with two workers")
            run = train.run(config, run_id=f"{demo}-{METHODS[title]}")
            results[title], looked[title] = evaluate.score(run["model"], [f"root={root}", *SCORED])
    picture = heading(
        comparison(looked), "Where the classifier looks", "generated scenes, test split; outline: the object"
    )
    folder = RunFolder(root, demo)
    folder.write("comparison.png", picture.png())
    console.print(_table(results))
    console.print(f"pictures:  {folder.path('comparison.png')}\n           {root}/{demo}-*/preview")
    console.print(f"MLflow:    .venv/bin/mlflow ui --backend-store-uri sqlite:///{root}/mlflow.db", soft_wrap=True)
    console.print(f"{time.monotonic() - started:.0f} seconds")
    return {
        "scores": {title: result["scores"] for title, result in results.items()},
        "picture": folder.path("comparison.png"),
    }


def _table(results: dict[str, dict[str, Any]]) -> Table:
    first = next(iter(results.values()))
    table = Table(title=f"{first['data']}: {first['images']} images", title_style="bold")
    table.add_column("method")
    for label in SHOWN.values():
        table.add_column(label, justify="right")
    for title, result in results.items():
        table.add_row(title, *(f"{100 * result['scores'][name]:.1f}" for name in SHOWN))
    return table


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except AttnError as error:
        sys.exit(str(error))
