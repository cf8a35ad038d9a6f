"""The tables of GAIN in docs/results/gain.md: recipes by seeds, trained and scored, mean and half range.

    python -m benchmarks.gain scenes      OUT.json [seeds=0,1,2] [a.b=value ...]
    python -m benchmarks.gain photographs OUT.json [seeds=0,1,2] data.root=... model.weights=... [a.b=value ...]

Every run is a run like any other, under `root`; a run that is there already is not repeated, so that an interrupted
benchmark goes on where it was. Each finished run's scores are added to OUT.json, from which the table is printed.
"""

from __future__ import annotations

__all__ = ["STUDIES", "Study", "main", "table"]

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attn.runs.recipes import load_config
from attn.training.train_config import TrainConfig
from benchmarks.study import SEEDS, chosen_rows, finished_run, study_command
from benchmarks.tables import score_lines
from jobs import evaluate
from jobs.evaluate import EvaluateResult
from jobs.ray_cluster.session import ray_session

OF_MAPS = {"mean_ap": "mAP", "seed_miou": "seed mIoU", "direct_miou": "direct mIoU", "coverage": "coverage"}
OF_BIAS = {"recall": "recall", "specificity": "specificity"}


@dataclass(frozen=True)
class Study:
    """What to compare, the splits to score it on and how, and the scores to show.

    Attributes:
        recipes: By the row's title, a recipe with overrides behind it, as on the command line.
        scored: Overrides of every evaluation.
        of_class: A class whose own scores are kept too, with its name before them.
    """

    recipes: dict[str, str]
    splits: tuple[str, ...]
    columns: dict[str, str]
    scored: tuple[str, ...] = ()
    of_class: str = ""


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
            for title in titles:
                recipe, *own = shlex.split(study.recipes[title])
                keys = {split: f"{title} {split} seed {seed}" for split in study.splits}
                missing = {split: key for split, key in keys.items() if key not in done}
                if not missing:
                    continue
                config = load_config(TrainConfig, recipe, [*own, *overrides, f"seed={seed}"])
                run = finished_run(config, _run_name(recipe, title if own else "", seed))
                for split, key in missing.items():
                    options = [f"root={config.root}", "panels=4", *study.scored, f"data.split={split}"]
                    scores = _scores(evaluate.run(evaluate.load(run.model, options)), study.of_class)
                    results = {"scores": scores, "seconds": run.seconds}
                    done[key] = {"title": title, "split": split, "seed": seed} | results
                    out.write_text(json.dumps(done, indent=1))
                print(table(study, done), flush=True)


def _scores(result: EvaluateResult, of_class: str) -> dict[str, float]:
    rows = (row for row in result.per_class if row["class"] == of_class)
    own = {f"{of_class} {name}": row[name] for row in rows for name in result.scores if row.get(name) is not None}
    return result.scores | own


def _run_name(recipe: str, variant: str, seed: int) -> str:
    """The name of a row's run; a variant of a recipe has the row's title in it."""
    return "-".join([recipe, *re.findall(r"\w+", variant.lower()), f"seed{seed}"])


def table(study: Study, done: dict[str, Any]) -> str:
    """Markdown: one row a method and split; mean over the seeds, and half the range behind it."""
    scored = {
        f"{split} | {title}": [one["scores"] for one in done.values() if (one["title"], one["split"]) == (title, split)]
        for split in study.splits
        for title in study.recipes
    }
    return "\n".join(score_lines("split | method", study.columns, scored))


if __name__ == "__main__":
    study_command(STUDIES, main)
