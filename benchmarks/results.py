"""The tables of docs/results.md: recipes by seeds, trained and scored, mean and spread.

    python -m benchmarks.results scenes      OUT.json [seeds=0,1,2] [a.b=value ...]
    python -m benchmarks.results photographs OUT.json [seeds=0,1,2] data.root=... model.weights=... [a.b=value ...]

Every run is a run like any other, under `root`; a run that is there already is not repeated, so that an interrupted
benchmark goes on where it was. Each finished run's scores are added to OUT.json, from which the table is printed.
"""

from __future__ import annotations

__all__ = ["SEEDS", "Scored", "chosen_rows", "finished_run", "main", "mean_and_spread", "score_lines", "study_command"]

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from attn.errors import AttnError, ConfigError, RunError
from attn.runs.kinds import read_config
from attn.runs.recipes import load_config
from attn.training.run_config import RunConfig
from attn.training.train_config import TrainConfig
from jobs import evaluate, train
from jobs.ray_cluster.session import ray_session
from jobs.runs.run_folder import RunFolder

SEEDS = (0, 1, 2)
T = TypeVar("T")
Scored = Mapping[str, list[dict[str, float]]]
"""The scores of each seed, by row."""

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


def main(study: Study, out: Path, overrides: list[str], seeds: Sequence[int] = SEEDS, rows: Sequence[str] = ()) -> None:
    """Train and score what is missing in OUT, and print the table."""
    done: dict[str, Any] = json.loads(out.read_text()) if out.exists() else {}
    titles = chosen_rows(rows, study.recipes)
    with ray_session():
        for seed in seeds:
            for title, recipe in ((title, study.recipes[title]) for title in titles):
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


def chosen_rows(rows: Sequence[str], available: Sequence[str] | Mapping[str, Any]) -> list[str]:
    """The rows of a table that were asked for; without any, all of them.

    Raises:
        ConfigError: There is no such row.
    """
    if unknown := [row for row in rows if row not in available]:
        raise ConfigError(f"rows={','.join(unknown)} is not available: {', '.join(available)}")
    return list(rows or available)


def finished_run(config: RunConfig, name: str) -> dict[str, Any]:
    """The run of that name, finished: as it is, gone on with, or begun."""
    folder = RunFolder(config.root, name)
    if not folder.exists():
        return train.run(config, run_id=name)
    there = read_config(folder.read("config.yaml").decode(), folder.path("config.yaml"))
    if there != config.resolved_versions():
        raise RunError(f"run {name} is there with another config; give another root, or remove {folder.uri}")
    return train.resume(folder.uri)


def table(study: Study, done: dict[str, Any]) -> str:
    """Markdown: one row a method and split; mean over the seeds, and half the range behind it."""
    scored = {
        f"{split} | {title}": [run["scores"][split] for run in done.values() if run["title"] == title]
        for split in study.splits
        for title in study.recipes
    }
    return "\n".join(score_lines("split | method", study.columns, scored))


def score_lines(first: str, columns: Mapping[str, str], scored: Scored) -> list[str]:
    """A Markdown table's lines: a row's mean over its seeds, and half the range behind it; rows without seeds left out.

    Args:
        first: Heading of what a row's name says; as many cells as that has.
        columns: Heading by score.
    """
    lines = [f"| {first} | seeds | " + " | ".join(columns.values()) + " |"]
    lines.append("|" + "---|" * (lines[0].count("|") - 1))
    for row, seeds in scored.items():
        if seeds:
            cells = [mean_and_spread([scores[name] for scores in seeds if name in scores]) for name in columns]
            lines.append(f"| {row} | {len(seeds)} | " + " | ".join(cells) + " |")
    return lines


def mean_and_spread(values: list[float]) -> str:
    """A mean in percent, and half the range."""
    if not values:
        return "-"
    scaled = 100 * np.array(values)
    return f"{scaled.mean():.1f} ± {(scaled.max() - scaled.min()) / 2:.1f}"


def study_command(
    studies: Mapping[str, T], main: Callable[[T, Path, list[str], Sequence[int], Sequence[str]], None]
) -> None:
    """The command line of a benchmark: `STUDY OUT.json [seeds=0,1] [rows=a,b] [a.b=value ...]`.

    Args:
        main: Takes the study, the file, overrides, seeds and the rows to do, of which none means all.
    """
    given = sys.argv[1:]
    if len(given) < 2 or given[0] not in studies:
        name = f"python -m benchmarks.{Path(sys.argv[0]).stem}"
        sys.exit(f"usage: {name} {'|'.join(studies)} OUT.json [seeds=0,1,2] [rows=A,B] [a.b=value ...]")
    picked = {"seeds=": [str(seed) for seed in SEEDS], "rows=": []}
    overrides: list[str] = []
    for text in given[2:]:
        prefix = next((prefix for prefix in picked if text.startswith(prefix)), None)
        if prefix is None:
            overrides.append(text)
        else:
            picked[prefix] = text.removeprefix(prefix).split(",")
    try:
        seeds = [int(seed) for seed in picked["seeds="]]
    except ValueError:
        sys.exit(f"seeds={','.join(picked['seeds='])}: whole numbers with commas between them, such as seeds=0,1,2")
    try:
        main(studies[given[0]], Path(given[1]), overrides, seeds, picked["rows="])
    except AttnError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    study_command(STUDIES, main)
