"""The tables of AttnBN in docs/results/attnbn.md: the rows of the paper's tables 1 and 6, by seeds.

    python -m benchmarks.attnbn scenes      OUT.json [seeds=0,1,2] [a.b=value ...]
    python -m benchmarks.attnbn photographs OUT.json [seeds=0,1,2] data.root=... method.source.root=... \
        method.source.labels=... model.weights=... [a.b=value ...]

Table 1 scores maps as segmentation (direct evaluation, section 4.2), table 6 the classifier on the target, of whose
labels none was used; its mAP is over the classes that the source has images of, for the others cannot be learnt.

Every run is a run like any other, under `root`; one that is there already is not repeated, nor one whose scores are in
OUT.json, so that an interrupted benchmark goes on where it was. Each score is added to OUT.json, from which the tables
are printed. The maps of the first seed's runs that are there are drawn side by side at the end.
"""

from __future__ import annotations

__all__ = ["STUDIES", "Study", "main", "tables"]

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from attn.methods.attnbn import AttnBNConfig
from attn.runs.recipes import load_config
from attn.training.train_config import TrainConfig
from benchmarks.study import SEEDS, chosen_rows, finished_run, study_command
from benchmarks.tables import score_lines
from jobs import compare, evaluate
from jobs.ray_cluster.session import ray_session
from jobs.runs.run_folder import RunFolder

MAPS = {"direct_miou": "direct mIoU", "seed_miou": "seed mIoU", "coverage": "coverage", "precision": "precision"}
CLASSIFIER = {"source_mean_ap": "mAP"}
OF_SOURCE = ("mean_ap", "seed_miou", "direct_miou")
"""Scores that are also taken over the source's classes alone: of the others, most rows learn little or nothing."""
IN_SOURCE = {"source_direct_miou": "direct IoU, source's classes", "source_seed_miou": "seed IoU, source's classes"}

TABLE_1 = {
    "target (Grad-CAM)": "target",
    "target + source": "target,source",
    "source + attention": "source,attention",
    "source + attention then target": "tuned",
    "source + attention + target": "source,attention,target",
    "AttnBN": "source,attention,target,adversarial",
}
TABLE_6 = {
    "source (generalisation)": "source",
    "source + attention (generalisation)": "source,attention",
    "source + adversarial (adaptation)": "source,adversarial",
    "source + attention + adversarial (adaptation)": "source,attention,adversarial",
}
"""By the terms of the loss; `tuned` goes on from `source,attention` with the target alone."""


@dataclass(frozen=True)
class Study:
    """A recipe, the splits of the target that it is scored on, and options of that."""

    recipe: str
    splits: tuple[str, ...]
    options: tuple[str, ...] = ()


STUDIES = {
    "scenes": Study("scenes_attnbn", ("val", "test"), ("data.count=400",)),
    "photographs": Study("attnbn", ("val",)),
}


def main(study: Study, out: Path, overrides: list[str], seeds: Sequence[int] = SEEDS, rows: Sequence[str] = ()) -> None:
    """Train and score what is missing in OUT, print the tables, and draw."""
    done: dict[str, Any] = json.loads(out.read_text()) if out.exists() else {}
    models: dict[str, str] = {}
    root = _config(study, "target", seeds[0], overrides).root
    with ray_session():
        for seed in seeds:
            for losses in dict.fromkeys((TABLE_1 | TABLE_6)[row] for row in chosen_rows(rows, TABLE_1 | TABLE_6)):
                keys = {split: f"{losses} {split} seed {seed}" for split in study.splits}
                missing = {split: key for split, key in keys.items() if key not in done}
                if not missing and not RunFolder(root, _name(study, losses, seed)).exists():
                    continue
                model = _model(study, losses, seed, overrides)
                if seed == seeds[0]:
                    models[losses] = model
                for split, key in missing.items():
                    scores = _scores(study, _config(study, losses, seed, overrides), model, split)
                    done[key] = {"losses": losses, "split": split, "seed": seed, "scores": scores}
                    out.write_text(json.dumps(done, indent=1))
            print(tables(study, done), flush=True)
        if drawn := {title: models[losses] for title, losses in TABLE_1.items() if losses in models}:
            job = compare.load(drawn, [f"root={root}", f"data.split={study.splits[-1]}", "panels=6"])
            print(compare.run(job).picture)


def tables(study: Study, done: dict[str, Any]) -> str:
    """Markdown: one row a variant and split; mean over the seeds, and half the range behind it."""
    lines: list[str] = []
    for rows, columns in ((TABLE_1, MAPS | IN_SOURCE | CLASSIFIER), (TABLE_6, CLASSIFIER)):
        scored = {
            f"{split} | {title}": [
                one["scores"] for one in done.values() if (one["losses"], one["split"]) == (losses, split)
            ]
            for split in study.splits
            for title, losses in rows.items()
        }
        lines += ["", *score_lines("split | losses", columns, scored)]
    return "\n".join(lines)


def _model(study: Study, losses: str, seed: int, overrides: list[str]) -> str:
    """The model of a row, which is trained if it is not there; before it, what it goes on from."""
    if losses == "tuned":
        _model(study, "source,attention", seed, overrides)
    return finished_run(_config(study, losses, seed, overrides), _name(study, losses, seed)).model


def _name(study: Study, losses: str, seed: int) -> str:
    return f"{study.recipe}-{losses.replace(',', '-')}-seed{seed}"


def _config(study: Study, losses: str, seed: int, overrides: list[str]) -> TrainConfig:
    settings = [*overrides, f"seed={seed}", f"method.losses=[{'target' if losses == 'tuned' else losses}]"]
    config = load_config(TrainConfig, study.recipe, settings)
    if losses != "tuned":
        return config
    weights = f"{config.root}/{_name(study, 'source,attention', seed)}/model/state_dict.pt"
    return load_config(TrainConfig, study.recipe, [*settings, f"model.weights={weights}"])


def _scores(study: Study, config: TrainConfig, model: str, split: str) -> dict[str, float]:
    result = evaluate.run(
        evaluate.load(model, [f"root={config.root}", "panels=4", *study.options, f"data.split={split}"])
    )
    known = _source_classes(config)
    rows = [row for row in result.per_class if row["class"] in known]
    of_source = {name: [row[name] for row in rows if row.get(name) is not None] for name in OF_SOURCE}
    return result.scores | {f"source_{name}": float(np.mean(item)) for name, item in of_source.items() if item}


def _source_classes(config: TrainConfig) -> set[str]:
    """The classes that the source has images of, whether or not the run uses it."""
    assert isinstance(config.method, AttnBNConfig)
    assert config.method.source is not None
    source = config.method.source.build()
    return {source.classes[label] for record in source.records for label in record.labels}


if __name__ == "__main__":
    study_command(STUDIES, main)
