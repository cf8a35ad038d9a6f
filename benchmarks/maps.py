"""What maps gain from several scales, mirrored images and refinement, and what that costs.

    python -m benchmarks.maps RUN [RUN ...] --json OUT.json --affinity VIT.pth [--row CAM] [a.b=value ...]

For each trained classifier RUN, each row makes the maps of the split once, and takes from them

- the seed mIoU at the threshold that is best for the masks, and at the one at which maps agree best with the saliency
  of U²-NetP, as `attn evaluate RUN evaluation.saliency=u2netp` does;
- the mIoU of cues by SEC's rule with that saliency and `labels.threshold=saliency_agreement`: of the labelled pixels,
  and with open pixels as missed;
- the wall-clock seconds an image: decoding, maps and scores. Saliency is computed before, and its seconds are apart.

An override goes to every row. A row that OUT.json has is not repeated, so an interrupted benchmark continues. Rows with
affinity need the weights of `timm/vit_small_patch14_dinov2`, or those of `--affinity-model`.

The figures of 173 photographs of VOC 2012 are of three linear probes. Of MobileNetV2 all that is trained is the
classifier:

    for seed in 0 1 2; do
      attn train grad_cam --run-id probe-$seed seed=$seed data.root=VOCdevkit/VOC2012 input.size=321 \
          model.weights=mobilenet_v2-imagenet.pth model.freeze_stages=5 training.epochs=10
    done
    python -m benchmarks.maps probe-0 probe-1 probe-2 --json docs/results/maps_photographs.json \
        --affinity vit_small_patch14_dinov2-focus.pth data.split=val evaluation.saliency_model=u2netp.onnx
"""

from __future__ import annotations

__all__ = ["ROWS", "main", "measure", "table"]

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attn.config.document import read_document
from attn.data.source import Source
from attn.errors import AttnError
from attn.evaluation.inference import ImageMaps
from attn.saliency.config import SaliencySettings
from attn.segmentation.labels import CueLabels
from attn.segmentation.make import cue_saliency, make_cues
from attn.segmentation.map_sources import PipelineMaps
from benchmarks.tables import mean_and_spread, table_lines
from jobs.ray_cluster.saliency_tasks import compute_saliency
from jobs.scoring.targets import ModelTarget, open_target

FLIP = ("maps.flip=true",)
SCALES = ("maps.scales=[0.5, 1, 1.5, 2]",)
AFFINITY = ("maps.refine.name=affinity",)
ROWS: dict[str, tuple[str, ...]] = {
    "CAM": (),
    "+ flip": FLIP,
    "+ scales": SCALES,
    "+ affinity": AFFINITY,
    "+ PAMR": ("maps.refine.name=pamr",),
    "+ CRF": ("maps.refine.name=crf",),
    "scales, flip, affinity": (*SCALES, *FLIP, *AFFINITY),
    "scales, flip, PAMR": (*SCALES, *FLIP, "maps.refine.name=pamr"),
}
"""The overrides of each row. The last but one is the best; the last is the best one without a transformer."""
COLUMNS = {
    "seed_miou": "seed mIoU, threshold by masks",
    "seed_miou_agreement": "by saliency",
    "cue_miou": "cue mIoU",
    "cue_miou_all": "all",
}


@dataclass
class _KeptMaps:
    """The maps of a pass over a data set, to make cues of."""

    maps: dict[str, dict[int, NDArray[np.float16]]] = field(default_factory=dict)
    description: dict[str, Any] = field(default_factory=dict)

    def keep(self, image: ImageMaps) -> None:
        labels = image.record.labels
        self.maps[image.record.image_id] = {label: image.maps[label].astype(np.float16) for label in labels}

    def read(self, source: Source) -> Iterator[tuple[int, dict[int, NDArray[np.float32]]]]:
        for position, record in enumerate(source.records):
            kept = self.maps.get(record.image_id, {})
            yield position, {label: values.astype(np.float32) for label, values in kept.items()}


def measure(run: str, overrides: Sequence[str]) -> dict[str, Any]:
    """Scores, thresholds and seconds of a classifier's maps; see the module.

    Raises:
        AttnError: There is no such model, or data or overrides do not fit it.
    """
    target = open_target(run, ["evaluation.saliency=u2netp", "panels=0", *overrides])
    if not isinstance(target, ModelTarget):
        raise AttnError(f"{run} is a map store; this benchmark makes maps by a trained classifier")
    scoring, kept = target.config.evaluation, _KeptMaps()
    settings = {name: getattr(scoring, name) for name in SaliencySettings.model_fields}
    labels = CueLabels(maps=PipelineMaps(), saliency="u2netp", threshold="saliency_agreement", **settings)
    began = time.perf_counter()
    saliency = compute_saliency(cue_saliency(target.source, labels, target.config.root))
    of_saliency = time.perf_counter() - began
    began = time.perf_counter()
    evaluation = target.evaluate(kept.keep)
    seconds = time.perf_counter() - began
    report = make_cues(target.source, saliency, kept, labels, lambda name, data: None)
    scores = {name: evaluation.scores[name] for name in ("seed_miou", "seed_miou_agreement")}
    quality = report.quality
    assert quality is not None, "images with masks were scored"
    thresholds = {name: score.extras["threshold"] for name, score in scores.items()}
    return {
        "scores": {name: score.value for name, score in scores.items()}
        | {f"cue_{name}": value for name, value in quality.figures().items()},
        "thresholds": thresholds | {"cue_miou": report.threshold["value"]},
        "protocols": {name: score.hash for name, score in scores.items()},
        "images": evaluation.images,
        "seconds": round(seconds / evaluation.images, 3),
        "saliency_seconds": round(of_saliency / evaluation.images, 3),
    }


def table(done: Mapping[str, Any]) -> str:
    """Markdown: one row a way to make maps; mean over the classifiers, and half the range behind it."""
    lines = []
    for title in ROWS:
        runs = [one for one in done.values() if one["title"] == title]
        if runs:
            figures = [mean_and_spread([one["scores"][name] for one in runs]) for name in COLUMNS]
            seconds = f"{sum(one['seconds'] for one in runs) / len(runs):.2f}"
            lines.append([title, str(len(runs)), *figures, seconds])
    return "\n".join(table_lines(["maps", "seeds", *COLUMNS.values(), "s an image"], lines))


def main() -> None:
    """Measure what is missing in OUT.json, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="+", metavar="RUN or a.b=value")
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--affinity", help="State dict of the transformer.")
    parser.add_argument("--affinity-model", default="timm/vit_small_patch14_dinov2")
    parser.add_argument("--row", action="append", default=[], choices=list(ROWS), help="Only this one.")
    options = parser.parse_intermixed_args()
    runs = [word for word in options.words if "=" not in word]
    overrides = [word for word in options.words if "=" in word]
    transformer = [f"maps.refine.model={options.affinity_model}", f"maps.refine.weights={options.affinity}"]
    done: dict[str, Any] = json.loads(options.json.read_text()) if options.json.exists() else {}
    for number, run in enumerate(runs):
        for title in options.row or ROWS:
            refined = any(one in ROWS[title] for one in AFFINITY)
            if refined and options.affinity is None:
                print(f"{title}: left out, --affinity names no weights", file=sys.stderr)
            elif f"{title}, {run}" not in done:
                row = measure(run, [*ROWS[title], *(transformer if refined else []), *overrides])
                done[f"{title}, {run}"] = {"title": title, "run": run, "seed": _seed(run, number)} | row
                options.json.write_text(json.dumps(done, indent=1))
                print(table(done), flush=True)


def _seed(run: str, number: int) -> int:
    """The seed of a training; the position in the list where the run's config is not here."""
    for file in (Path("runs", run, "config.yaml"), Path(run, "config.yaml")):
        if file.is_file():
            return int(read_document(file.read_text(encoding="utf-8"), str(file)).values["seed"])
    return number


if __name__ == "__main__":
    try:
        main()
    except AttnError as error:
        sys.exit(str(error))
