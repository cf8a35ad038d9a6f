"""The tables of docs/results.md: recipes by seeds, trained and scored, mean and spread.

    python -m benchmarks.results scenes  OUT.json [a.b=value ...]
    python -m benchmarks.results photographs OUT.json data.root=... model.weights=... [a.b=value ...]

Every run is a run like any other, under `root`; a run that is there already is not repeated, so that an interrupted
benchmark goes on where it was. Each finished run's scores are added to OUT.json, from which the table is printed.
"""

from __future__ import annotations

__all__ = ["SEEDS", "finished_run", "main", "mean_and_spread"]

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from attn.config.kinds import read_config
from attn.config.recipes import load_config
from attn.config.run import RunConfig
from attn.config.train import TrainConfig
from attn.errors import AttnError, RunError
from jobs import evaluate, train
from jobs.ray_session import ray_session
from jobs.run_folder import RunFolder

SEEDS = (0, 1, 2)


OF_MAPS = {"mean_ap": "mAP", "seed_miou": "seed mIoU", "direct_miou": "direct mIoU", "coverage": "coverage"}
OF_BIAS = {"recall": "recall", "specificity": "specificity"}


@dataclass(frozen=True)
class Study:
    """Recipes to compare, the splits to score them on and how, and the scores to show."""

    recipes: dict[str, str]
    splits: tuple[str, ...]
    columns: dict[str, str]
    scored: tuple[str, ...] = ()


STUDIES = {
    "scenes": Study(
        {"Grad-CAM": "scenes_grad_cam", "GAIN": "scenes_gain", "GAIN_ext": "scenes_gain_ext"},
        ("val", "test", "object_without_context", "context_without_object"),
        OF_MAPS | OF_BIAS,
        ("data.count=400",),
    ),
    "photographs": Study(
        {"Grad-CAM": "grad_cam", "GAIN": "gain", "GAIN_ext": "gain_ext"},
        ("train", "val"),
        OF_MAPS,
    ),
}


def main(study: Study, out: Path, overrides: list[str]) -> None:
    """Train and score what is missing in OUT, and print the table."""
    done: dict[str, Any] = json.loads(out.read_text()) if out.exists() else {}
    with ray_session():
        for seed in SEEDS:
            for title, recipe in study.recipes.items():
                name = f"{recipe}-seed{seed}"
                if name in done:
                    continue
                config = load_config(TrainConfig, recipe, [*overrides, f"seed={seed}"])
                run = finished_run(config, name)
                place = [f"root={config.root}", "panels=4", *study.scored]
                scores = {split: evaluate.run(run["model"], [*place, f"data.split={split}"]) for split in study.splits}
                done[name] = {
                    "title": title,
                    "seed": seed,
                    "seconds": run["seconds"],
                    "scores": {split: result["scores"] for split, result in scores.items()},
                    "per_class": {split: result["per_class"] for split, result in scores.items()},
                }
                out.write_text(json.dumps(done, indent=1))
                print(table(study, done), flush=True)


def finished_run(config: RunConfig, name: str) -> dict[str, Any]:
    """The run of that name, finished: as it is, gone on with, or begun."""
    folder = RunFolder(config.root, name)
    if not folder.exists():
        return train.run(config, run_id=name)
    there = read_config(folder.read("config.yaml").decode(), folder.path("config.yaml"))
    if there != config.pinned():
        raise RunError(f"run {name} is there with another config; give another root, or remove {folder.uri}")
    return train.resume(folder.uri)


def table(study: Study, done: dict[str, Any]) -> str:
    """Markdown: one row a method and split; mean over the seeds, and half the range behind it."""
    lines = ["| split | method | seeds | " + " | ".join(study.columns.values()) + " |"]
    lines.append("|---|---|---|" + "---|" * len(study.columns))
    for split in study.splits:
        for title in study.recipes:
            runs = [run["scores"][split] for run in done.values() if run["title"] == title]
            if runs:
                cells = [mean_and_spread([run[name] for run in runs if name in run]) for name in study.columns]
                lines.append(f"| {split} | {title} | {len(runs)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def mean_and_spread(values: list[float]) -> str:
    """A mean in percent, and half the range."""
    if not values:
        return "-"
    scaled = 100 * np.array(values)
    return f"{scaled.mean():.1f} ± {(scaled.max() - scaled.min()) / 2:.1f}"


if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[1] not in STUDIES:
        sys.exit(f"usage: python -m benchmarks.results {'|'.join(STUDIES)} OUT.json [a.b=value ...]")
    try:
        main(STUDIES[sys.argv[1]], Path(sys.argv[2]), sys.argv[3:])
    except AttnError as error:
        sys.exit(str(error))
