"""The tables of ICASC in docs/results/icasc.md: its baseline and both kinds of attention, by seeds.

    python -m benchmarks.icasc scenes      OUT.json [seeds=0,1,2] [a.b=value ...]
    python -m benchmarks.icasc caltech101  OUT.json [seeds=0,1,2] data.root=... model.weights=... [a.b=value ...]
    python -m benchmarks.icasc photographs OUT.json [seeds=0,1,2] data.root=... model.weights=... [a.b=value ...]

The baseline is the same recipe with classification alone. Beside the classifier's scores stands the soft IoU of the
target's and the confusing class's maps (eq. 6; less is better), of both kinds of map for every network, so that none is
scored by its own kind only.

Every run is a run like any other, under `root`; one that is there already is not repeated, nor one whose scores are in
OUT.json, so that an interrupted benchmark goes on where it was. Each score is added to OUT.json, from which the table
is printed. The maps of the first seed's runs that are there are drawn side by side at the end.
"""

from __future__ import annotations

__all__ = ["ROWS", "STUDIES", "Study", "main", "table"]

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attn.runs.recipes import load_config
from attn.training.train_config import TrainConfig
from benchmarks.study import SEEDS, chosen_rows, finished_run, study_command
from benchmarks.tables import score_lines
from jobs import compare, evaluate
from jobs.ray_cluster.session import ray_session
from jobs.runs.run_folder import RunFolder
from jobs.train import TrainResult

ROWS = {"baseline": "grad_cam", "ICASC A_ch": "channel", "ICASC A_px": "pixel"}
OVERLAPS = {f"{kind}_{layer}": f"{sign} {layer}" for kind, sign in (("channel", "A_ch"), ("pixel", "A_px"))
            for layer in ("inner", "last")}  # fmt: skip


@dataclass(frozen=True)
class Study:
    """A recipe, the splits that it is scored on, options of that, and the classifier's scores to show."""

    recipe: str
    splits: tuple[str, ...]
    columns: dict[str, str]
    options: tuple[str, ...] = ()


OF_MAPS = {"seed_miou": "seed mIoU", "energy": "energy"}
STUDIES = {
    "scenes": Study(
        "scenes_icasc", ("val", "test"), {"accuracy": "accuracy", "mean_ap": "mAP"} | OF_MAPS, ("data.count=2000",)
    ),
    "caltech101": Study("claim_icasc", ("test",), {"accuracy": "accuracy", "accuracy_top5": "top-5 accuracy"}),
    "photographs": Study("icasc", ("val",), {"mean_ap": "mAP", "mean_auc": "AUC"} | OF_MAPS),
}


def main(study: Study, out: Path, overrides: list[str], seeds: Sequence[int] = SEEDS, rows: Sequence[str] = ()) -> None:
    """Train and score what is missing in OUT, print the table, and draw."""
    done: dict[str, Any] = json.loads(out.read_text()) if out.exists() else {}
    models: dict[str, str] = {}
    root = _config(study, "grad_cam", [*overrides, f"seed={seeds[0]}"]).root
    with ray_session():
        for seed in seeds:
            for title, kind in ((title, ROWS[title]) for title in chosen_rows(rows, ROWS)):
                keys = {split: f"{title} {split} seed {seed}" for split in study.splits}
                missing = {split: key for split, key in keys.items() if key not in done}
                name = f"{study.recipe}-{kind}-seed{seed}"
                if not missing and not RunFolder(root, name).exists():
                    continue
                run = finished_run(_config(study, kind, [*overrides, f"seed={seed}"]), name)
                if seed == seeds[0]:
                    models[title] = run.model
                for split, key in missing.items():
                    options = [f"root={root}", *study.options, f"data.split={split}"]
                    done[key] = {"title": title, "split": split, "seed": seed, "scores": _scores(run, options)}
                    out.write_text(json.dumps(done, indent=1))
            print(table(study, done), flush=True)
        if models:
            places = [f"root={root}", f"data.split={study.splits[-1]}", *study.options, "panels=4"]
            print(compare.run(compare.load(models, places, confusion=True)).picture)


def table(study: Study, done: dict[str, Any]) -> str:
    """Markdown: one row a method and split; mean over the seeds, and half the range behind it."""
    scored = {
        f"{split} | {title}": [one["scores"] for one in done.values() if (one["title"], one["split"]) == (title, split)]
        for split in study.splits
        for title in ROWS
    }
    return "\n".join(score_lines("split | method", study.columns | OVERLAPS, scored))


def _config(study: Study, kind: str, overrides: list[str]) -> TrainConfig:
    if kind == "grad_cam":  # which has none of the method's fields
        overrides = ["method.name=grad_cam", *(text for text in overrides if not text.startswith("method."))]
    else:
        overrides = [*overrides, f"method.map_kind={kind}"]
    return load_config(TrainConfig, study.recipe, overrides)


def _scores(run: TrainResult, options: list[str]) -> dict[str, float]:
    scores = dict(evaluate.run(evaluate.load(run.model, [*options, "panels=4"])).scores)
    for kind in ("channel", "pixel"):
        job = compare.load({"": run.model}, [*options, "panels=1", f"map_kind={kind}"], confusion=True)
        drawn = compare.run(job)
        assert drawn.overlap is not None, "asked for"
        scores |= {f"{kind}_{layer}": value for layer, value in drawn.overlap[""].items()}
    return scores


if __name__ == "__main__":
    study_command(STUDIES, main)
