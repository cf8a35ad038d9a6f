"""Tables of segmentation (docs/results/segmentation.md): cues of each method's maps, and networks that learn from them.

    python -m benchmarks.segmentation scenes      OUT.json [seeds=0,1,2] AttnBN:data.objects=[1,2] [a.b=value ...]
    python -m benchmarks.segmentation photographs OUT.json [seeds=0,1,2] data.root=... model.weights=... \
        AttnBN:method.source.root=... AttnBN:method.source.labels=... [a.b=value ...]

Per seed each method's classifier is trained; its maps of the training images (OAA's: those of its store) become cues by
the one rule of the study's segmentation recipe, and the same network learns from them. At last it learns from the true
masks: the ceiling. `cue mIoU` is of the cues' labelled pixels, `all` with open pixels as missed; the networks' masks of
val are scored as they are and after the dense CRF.

An override goes to every run; behind `ROW:` to that row's classifier alone, behind `segment:` to the segmentation runs.
`rows=OAA,OAA+` does only those. Every run is a run like any other, under `root`; a run that is there already is not
repeated, so that an interrupted benchmark goes on where it was. Each finished row is added to OUT.json, from which the
table is printed.
"""

from __future__ import annotations

__all__ = ["STUDIES", "Study", "main", "table"]

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attn.runs.recipes import load_config
from attn.segmentation.config import SegmentConfig
from attn.training.train_config import TrainConfig
from benchmarks.study import SEEDS, chosen_rows, finished_run, study_command
from benchmarks.tables import score_lines
from jobs import segment_predict
from jobs.ray_cluster.session import ray_session
from jobs.train import TrainResult

COLUMNS = {
    "cue_miou": "cue mIoU, train",
    "cue_miou_all": "all",
    "coverage": "coverage",
    "miou": "mIoU, val",
    "miou_crf": "with CRF",
}
CEILING = "true masks"
OF_SEGMENTATION = "segment"


@dataclass(frozen=True)
class Study:
    """A segmentation recipe, and the recipe of each row's classifier.

    Attributes:
        crf: Of inference.
    """

    recipe: str
    prefix: str
    crf: str
    options: tuple[str, ...] = ()

    def classifiers(self) -> dict[str, str]:
        """The recipe of each row's maps."""
        names = {"Grad-CAM": "grad_cam", "GAIN": "gain", "GAIN_ext": "gain_ext", "OAA": "oaa", "OAA+": "oaa_plus"}
        return {title: self.prefix + name for title, name in (names | {"AttnBN": "attnbn"}).items()}


SEC_CRF = "bilateral_weight: 10, bilateral_xy: 80, bilateral_rgb: 13, gaussian_weight: 3, gaussian_xy: 3"
SMALL_CRF = "bilateral_weight: 3, bilateral_xy: 10, bilateral_rgb: 13, gaussian_weight: 1, gaussian_xy: 1"
"""For scenes of 64 pixels: distances as parts of the image are about those of the photographs."""

STUDIES = {
    "scenes": Study("segment_scenes", "scenes_", f"{{{SMALL_CRF}}}", ("data.count=400",)),
    "photographs": Study("cross_entropy", "", f"{{{SEC_CRF}}}"),
}


def main(study: Study, out: Path, overrides: list[str], seeds: Sequence[int] = SEEDS, rows: Sequence[str] = ()) -> None:
    """Train and score what is missing in OUT, and print the table."""
    done: dict[str, Any] = json.loads(out.read_text()) if out.exists() else {}
    titles = chosen_rows(rows, (*study.classifiers(), CEILING))
    with ray_session():
        for seed in seeds:
            for title in titles:
                name = f"{title} seed {seed}"
                if name not in done:
                    done[name] = {"title": title, "seed": seed} | _row(study, title, seed, overrides)
                    out.write_text(json.dumps(done, indent=1))
                    print(table(study, done), flush=True)


def table(study: Study, done: dict[str, Any]) -> str:
    """Markdown: one row a method; mean over the seeds, and half the range behind it."""
    titles = (*study.classifiers(), CEILING)
    scored = {title: [one["scores"] for one in done.values() if one["title"] == title] for title in titles}
    return "\n".join(score_lines("maps of", COLUMNS, scored))


def _row(study: Study, title: str, seed: int, overrides: list[str]) -> dict[str, Any]:
    maps = None if title == CEILING else _maps(study, title, seed, overrides)
    labels = "labels.source=masks" if maps is None else f"labels.maps={maps}"
    config = load_config(SegmentConfig, study.recipe, [*_of(OF_SEGMENTATION, overrides), f"seed={seed}", labels])
    run = finished_run(config, f"{study.recipe}-{title.replace(' ', '-').replace('+', '-plus').lower()}-seed{seed}")
    result = segment_predict.run(
        segment_predict.load(
            run.model,
            [f"root={config.root}", f"inference.crf={study.crf}", "masks=false", "panels=8", *study.options],
        )
    )
    cues = run.cues or {}
    scores = {f"cue_{name}": cues[name] for name in ("miou", "miou_all") if name in cues}
    scores |= {name: cues[name] for name in ("coverage", "precision") if name in cues}
    return {
        "scores": scores | result.scores,
        "per_class": result.per_class,
        "protocols": result.protocols,
        "seconds": run.seconds,
    }


def _maps(study: Study, title: str, seed: int, overrides: list[str]) -> str:
    """Where the maps of a row's classifier are, which is trained if it is not there yet."""
    classifiers = study.classifiers()
    settings = [*_of(title, overrides), f"seed={seed}"]
    if title == "OAA+":
        settings.append(
            f"method.maps={_classifier(classifiers['OAA'], seed, [*_of('OAA', overrides), settings[-1]]).store}"
        )
    run = _classifier(classifiers[title], seed, settings)
    if title == "OAA":
        return f"{{source: store, uri: '{run.store}', version: {run.store_version}}}"
    return f"{{source: model, model: '{run.model}'}}"


def _classifier(recipe: str, seed: int, settings: list[str]) -> TrainResult:
    return finished_run(load_config(TrainConfig, recipe, settings), f"{recipe}-seed{seed}")


def _of(row: str, overrides: list[str]) -> list[str]:
    """Those overrides that are for a row's run, or for all."""
    results = []
    for text in overrides:
        before, colon, _ = text.partition("=")[0].partition(":")
        if not colon:
            results.append(text)
        elif before == row:
            results.append(text.removeprefix(f"{before}:"))
    return results


if __name__ == "__main__":
    study_command(STUDIES, main)
