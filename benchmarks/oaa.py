"""The table of OAA in docs/results.md: CAM, OAA by mean and by maximum, OAA+ with both losses, by seeds.

    python -m benchmarks.oaa scenes      OUT.json [a.b=value ...]
    python -m benchmarks.oaa photographs OUT.json data.root=... model.weights=... [a.b=value ...]

Per seed: `oaa` with `store.fusion=max`, whose final model gives the CAM; the same again with `store.fusion=mean`; and
`oaa_plus` on the store of the first, with the hybrid and with the plain loss. Stored maps are scored on the training
images, for which alone they exist, models on both splits. OAA+ is scored by both of its map kinds.

Every run is a run like any other, under `root`; a run that is there already is not repeated, so that an interrupted
benchmark goes on where it was. Each score is added to OUT.json, from which the table is printed. `seeds=0` or
`seeds=0,1` after OUT.json does only those.
"""

from __future__ import annotations

__all__ = ["STUDIES", "Row", "main", "table"]

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attn.config.recipes import load_config
from attn.config.train import TrainConfig
from attn.errors import AttnError
from benchmarks.results import SEEDS, finished_run, mean_and_spread
from jobs import evaluate
from jobs.ray_session import ray_session

COLUMNS = {"seed_miou": "seed mIoU", "coverage": "coverage", "precision": "precision", "energy": "energy"}
STUDIES = {"scenes": "scenes_oaa", "photographs": "oaa"}
"""The recipe of each; that of OAA+ has `_plus` behind it."""


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        run: Whose maps are scored, by the end of its name.
        stored: The maps of its store, not those of its model.
        options: Of the evaluation.
    """

    title: str
    run: str
    splits: tuple[str, ...] = ("train", "val")
    stored: bool = False
    options: tuple[str, ...] = ()


ROWS = (
    Row("CAM", "max"),
    Row("OAA (mean)", "mean", ("train",), stored=True),
    Row("OAA (max)", "max", ("train",), stored=True),
    Row("OAA+ (hybrid)", "hybrid"),
    Row("OAA+ (hybrid), q", "hybrid", options=("map_kind=integral",)),
    Row("OAA+ (plain)", "mce"),
    Row("OAA+ (plain), q", "mce", options=("map_kind=integral",)),
)


def main(recipe: str, out: Path, overrides: list[str], seeds: tuple[int, ...] = SEEDS) -> None:
    """Train and score what is missing in OUT, and print the table."""
    done: dict[str, Any] = json.loads(out.read_text()) if out.exists() else {}
    with ray_session():
        for seed in seeds:
            runs = _runs(recipe, [*overrides, f"seed={seed}"], seed)
            for row in ROWS:
                for split in row.splits:
                    name = f"{row.title} {split} seed {seed}"
                    if name not in done:
                        scores = _score(row, split, runs[row.run])
                        done[name] = {"title": row.title, "split": split, "seed": seed, "scores": scores}
                        out.write_text(json.dumps(done, indent=1))
            print(table(done), flush=True)


def _runs(recipe: str, overrides: list[str], seed: int) -> dict[str, dict[str, Any]]:
    """The finished runs of a seed, by the end of their names."""
    runs: dict[str, dict[str, Any]] = {}
    for fusion in ("max", "mean"):
        config = load_config(TrainConfig, recipe, [*overrides, f"store.fusion={fusion}"])
        runs[fusion] = finished_run(config, f"{recipe}-{fusion}-seed{seed}")
    maps = f"method.maps={runs['max']['store']}"
    for loss in ("hybrid", "mce"):
        config = load_config(TrainConfig, f"{recipe}_plus", [*overrides, maps, f"method.integral_loss={loss}"])
        runs[loss] = finished_run(config, f"{recipe}_plus-{loss}-seed{seed}")
    return runs


def _score(row: Row, split: str, run: dict[str, Any]) -> dict[str, float]:
    target = f"{run['store']}@{run['store_version']}" if row.stored else run["model"]
    root = str(run["folder"]).rpartition("/")[0]
    return evaluate.run(target, [f"root={root}", "panels=4", f"data.split={split}", *row.options])["scores"]


def table(done: dict[str, Any]) -> str:
    """Markdown: one row a way and split; mean over the seeds, and half the range behind it."""
    lines = ["| split | maps | seeds | " + " | ".join(COLUMNS.values()) + " |"]
    lines.append("|---|---|---|" + "---|" * len(COLUMNS))
    for split in ("train", "val"):
        for row in ROWS:
            found = [one["scores"] for one in done.values() if (one["title"], one["split"]) == (row.title, split)]
            if found:
                cells = [mean_and_spread([one[name] for one in found if name in one]) for name in COLUMNS]
                lines.append(f"| {split} | {row.title} | {len(found)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[1] not in STUDIES:
        sys.exit(f"usage: python -m benchmarks.oaa {'|'.join(STUDIES)} OUT.json [seeds=0,1,2] [a.b=value ...]")
    given = sys.argv[3:]
    chosen = [text for text in given if text.startswith("seeds=")]
    picked = tuple(int(part) for part in chosen[-1].removeprefix("seeds=").split(",")) if chosen else SEEDS
    try:
        rest = [text for text in given if text not in chosen]
        main(STUDIES[sys.argv[1]], Path(sys.argv[2]), rest, picked)
    except AttnError as error:
        sys.exit(str(error))
