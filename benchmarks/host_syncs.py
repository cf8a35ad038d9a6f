"""How often a training step makes the host wait for the device, by method.

    python -m benchmarks.host_syncs                  # one line a method
    python -m benchmarks.host_syncs --lines gain     # the lines of code that wait

Each method trains a small network on generated scenes, on the device of `benchmarks.stand_in`, which needs no GPU.
Operations that would wait are counted in the middle of an epoch. Losses, the check that they are finite, the update and
the report of the step are part of a step; the end of an epoch, its validation and its checkpoint are not.
"""

from __future__ import annotations

__all__ = ["CASES", "count_waits", "main"]

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from attn import store as map_store
from attn.runs.config_reader import read_config
from attn.runs.table import build_components
from attn.training.accumulation import Accumulator, create_store
from attn.training.checkpoint import Position
from attn.training.classifier import ClassifierComponents
from attn.training.reporter import EpochRecord, StepRecord
from attn.training.train_config import TrainConfig
from attn.training.trainer import Trainer
from attn.training.world import World
from benchmarks.stand_in import DEVICE, StandInDevice, Wait

STEPS = 5
COUNTED = (3, 4)
"""The reports between which waits are counted."""
COMMON = f"""
data: {{source: scenes, count: {4 * STEPS}, size: 32, objects: [2, 3]}}
validation: {{split: null}}
input: {{size: 32}}
optimizer: {{name: adamw, multipliers: {{head_weight: 1, head_bias: 1}}}}
training: {{epochs: 1, batch_size: 4}}
tracking: {{enabled: false}}
"""
NETWORK = "model: {name: tiny, weights: null, stride: 4, widths: [8, 8, 8], head: HEAD}"
SEGMENTER = "model: {name: tiny, weights: null, stride: 4, widths: [8, 8, 8], head: aspp, dilations: [1], hidden: 8}"
SOURCE = "{source: scenes, count: 20, size: 32, seed: 1, objects: [1, 1], single_label: true}"
CLASSIFIER = "kind: train\n" + COMMON + NETWORK.replace("HEAD", "gap")
CLASS_AWARE = "kind: train\n" + COMMON + NETWORK.replace("HEAD", "conv")
OF_PIXELS = "kind: segment\n" + COMMON + SEGMENTER + "\nlabels: {source: masks}"
CASES: dict[str, str] = {
    "grad_cam": f"{CLASSIFIER}\nmethod: {{name: grad_cam}}",
    "gain": f"{CLASSIFIER}\nmethod: {{name: gain, warmup_epochs: 0}}",
    "gain, masks, inner layer": f"{CLASSIFIER}\nmethod: {{name: gain, warmup_epochs: 0, layer: inner, "
    "extra_supervision: masks, extra_images: 10}",
    "icasc": f"{CLASSIFIER}\nmethod: {{name: icasc}}",
    "attnbn": f"{CLASSIFIER}\nmethod: {{name: attnbn, source: {SOURCE}}}",
    "oaa": f"{CLASS_AWARE}\nmethod: {{name: oaa}}",
    "oaa, maps kept": f"{CLASS_AWARE}\nmethod: {{name: oaa}}\nstore: {{accumulate: true, start_epoch: 0}}",
    "oaa_plus": f"{CLASS_AWARE}\nmethod: {{name: oaa_plus, maps: STORE}}",
    "cross_entropy": f"{OF_PIXELS}\nmethod: {{name: cross_entropy}}",
    "sec": f"{OF_PIXELS}\nmethod: {{name: sec, processes: 0}}",
    "dsrg": f"{OF_PIXELS}\nmethod: {{name: dsrg, processes: 0}}",
}


class _Reports:
    """Keeps the waits up to each step's report."""

    def __init__(self, device: StandInDevice) -> None:
        self.device = device
        self.until: dict[int, Counter[Wait]] = {}

    def step(self, record: StepRecord) -> None:
        self.until[record.step] = self.device.waits.copy()

    def cancelled(self) -> bool:
        return False

    def epoch(self, record: EpochRecord, trainer: Trainer) -> None: ...

    def checkpoint(self, position: Position, metrics: dict[str, float], write: Callable[[Path], None]) -> None: ...


def count_waits(name: str, folder: Path, *overrides: str) -> Counter[Wait]:
    """What waits for the device in one training step.

    Args:
        name: A key of `CASES`.
        folder: Holds the map stores that a case writes or reads.
        overrides: Of the case's config.
    """
    uri = str(folder / "store")
    config = read_config(CASES[name].replace("STORE", uri), "case.yaml", list(overrides))
    if name == "oaa_plus" and not Path(uri).exists():
        count_waits("oaa, maps kept", folder)
    components = build_components(config, rank=0, world=1)
    world, accumulator = World(0, 1, DEVICE), None
    if isinstance(config, TrainConfig) and config.accumulates:
        assert isinstance(components, ClassifierComponents), "only a classifier has maps"
        store = create_store(uri, config.store, config.input, components)
        accumulator = Accumulator(config.store, store, "run", world, config.training.epochs)
    with StandInDevice() as device:
        reports = _Reports(device)
        Trainer(config, world, components, accumulator).fit(reports)
    if accumulator is not None:
        accumulator.publish(accumulator.version)
        assert map_store.open(uri).newest().version, "OAA+ reads what was published"
    first, last = COUNTED
    return reports.until[last] - reports.until[first]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", nargs="*", metavar="CASE", help="the lines that wait, of these cases or of all")
    parser.add_argument("--json", type=Path, help="write the counts here too")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        waits = {name: count_waits(name, Path(folder)) for name in chosen.lines or CASES}
    for name, counted in waits.items():
        print(f"{name:28}{counted.total():4}")
        for wait, times in sorted(counted.items(), key=lambda item: (item[0].file, item[0].line)):
            if chosen.lines is not None:
                print(f"{times:8}  {wait}")
    if chosen.json:
        chosen.json.write_text(json.dumps({name: counted.total() for name, counted in waits.items()}, indent=1))


if __name__ == "__main__":
    main()
