"""What maps gain from several scales, mirrored images and refinement, and what that costs.

    python -m benchmarks.maps RUN [RUN ...] --json OUT.json --affinity VIT.pth [--row CAM] [a.b=value ...]

For each trained classifier RUN, each row makes the maps of the split once, and takes from them

- the seed mIoU at the threshold that is best for the masks, and at the one at which maps agree best with the saliency
  of U²-NetP, as `attn evaluate RUN evaluation.saliency=u2netp` does;
- the mIoU of cues by SEC's rule with that saliency and `labels.threshold=saliency_agreement`: of the labelled pixels,
  and with open pixels as missed;
- the seconds of a core an image: decoding, maps and scores, as CPU time of a process with one thread, which other work
  on the machine disturbs little. Saliency is computed before.

As many rows are measured at a time as there are cores (`--processes`). An override goes to every row. A row that
OUT.json has is not repeated, so an interrupted benchmark continues. Rows with affinity need the weights of
`timm/vit_small_patch14_dinov2`, or those of `--affinity-model`.

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
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from attn.config.document import read_document
from attn.data.source import Source
from attn.errors import AttnError
from attn.evaluation.inference import ImageMaps
from attn.saliency.config import SaliencySettings
from attn.saliency.source import with_saliency
from attn.segmentation.crf_pool import spare_cores
from attn.segmentation.cue_saliency import cue_saliency
from attn.segmentation.labels import CueLabels
from attn.segmentation.make import make_cues
from attn.segmentation.map_sources import PipelineMaps
from attn.training.allocator import keep_freed_memory
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
    """Scores, thresholds and CPU seconds of a classifier's maps; see the module.

    Raises:
        AttnError: There is no such model, or data or overrides do not fit it.
    """
    target = _open(run, overrides)
    scoring, kept = target.config.evaluation, _KeptMaps()
    settings = {name: getattr(scoring, name) for name in SaliencySettings.model_fields}
    labels = CueLabels(maps=PipelineMaps(), saliency="u2netp", threshold="saliency_agreement", **settings)
    saliency = compute_saliency(cue_saliency(target.source, labels, target.config.root))
    began = time.process_time()
    evaluation = target.evaluate(kept.keep)
    seconds = time.process_time() - began
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
    }


def _open(run: str, overrides: Sequence[str]) -> ModelTarget:
    target = open_target(run, ["evaluation.saliency=u2netp", "panels=0", *overrides])
    if not isinstance(target, ModelTarget):
        raise AttnError(f"{run} is a map store; this benchmark makes maps by a trained classifier")
    return target


def _start() -> None:
    """Use one thread in a process of the pool: there is one for each core."""
    torch.set_num_threads(1)
    keep_freed_memory()


def table(done: Mapping[str, Any]) -> str:
    """Markdown: one row a way to make maps; mean over the classifiers, and half the range behind it."""
    lines = []
    for title in ROWS:
        runs = [one for one in done.values() if one["title"] == title]
        if runs:
            figures = [mean_and_spread([one["scores"][name] for one in runs]) for name in COLUMNS]
            seconds = f"{sum(one['seconds'] for one in runs) / len(runs):.2f}"
            lines.append([title, str(len(runs)), *figures, seconds])
    return "\n".join(table_lines(["maps", "seeds", *COLUMNS.values(), "s of a core an image"], lines))


def main() -> None:
    """Measure what is missing in OUT.json, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="+", metavar="RUN or a.b=value")
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--affinity", help="State dict of the transformer.")
    parser.add_argument("--affinity-model", default="timm/vit_small_patch14_dinov2")
    parser.add_argument("--processes", type=int, default=spare_cores())
    parser.add_argument("--row", action="append", default=[], choices=list(ROWS), help="Only this one.")
    options = parser.parse_intermixed_args()
    runs = [word for word in options.words if "=" not in word]
    overrides = [word for word in options.words if "=" in word]
    transformer = [f"maps.refine.model={options.affinity_model}", f"maps.refine.weights={options.affinity}"]
    done: dict[str, Any] = json.loads(options.json.read_text()) if options.json.exists() else {}
    rows = [(run, title) for run in runs for title in options.row or ROWS if f"{title}, {run}" not in done]
    if options.affinity is None and any(AFFINITY[0] in ROWS[title] for _, title in rows):
        sys.exit("rows with affinity need --affinity FILE, the state dict of a transformer; --row leaves them out")
    if rows:  # once, and not by each row
        target = _open(rows[0][0], overrides)
        scoring, root = target.config.evaluation, target.config.root
        compute_saliency(with_saliency(target.source, "u2netp", scoring, root=root, field="evaluation.saliency"))
    with ProcessPoolExecutor(options.processes, mp_context=get_context("spawn"), initializer=_start) as pool:
        running = {
            pool.submit(
                measure,
                run,
                [*ROWS[title], *(transformer if AFFINITY[0] in ROWS[title] else []), *overrides],
            ): (run, title)
            for run, title in rows
        }
        for ended in as_completed(running):
            run, title = running[ended]
            done[f"{title}, {run}"] = {"title": title, "run": run, "seed": _seed(run, runs.index(run))} | ended.result()
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
