"""What a sweep's trial costs beside its training, by parts: in a process that is reused, and started plainly.

    python -m benchmarks.sweep sweep.json                          # --reused 5 --plain 2

Two sweeps of the same tiny trials, one trial at a time, within one Ray session. In the first a process trains one trial
after the other, as trials of one worker do; in the second each has a process of its own and in it a Ray Train run with
a worker, as trials of several workers do. All seconds from the first trial's order to the last one's end are shared out
among the parts, so that they add up; what is in none of them is Ray Tune's own. A first step counts as far as it takes
longer than the median step.
"""

from __future__ import annotations

__all__ = ["main"]

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

from attn.runs.sweep.load import LoadedSweep, read_sweep
from benchmarks.sweep_spans import FOLDER, read, timed_trial, watch

TEXT = """
kind: sweep
recipe: scenes_gain
set:
  data.count: 64
  data.size: 32
  input.size: 32
  training.epochs: 3
  training.batch_size: 16
  method.warmup_epochs: 0
  cluster.workers: 1
space:
  method.mask_threshold: {low: 0.1, high: 0.5}
search: {name: random, trials: 1}
objective: {metric: val/mean_ap}
parallel: 1
"""
PARTS = (
    "record of the trial", "process start and imports", "check of the data", "Ray Train: start and imports",
    "data and network", "first step", "checkpoint and report", "tracking", "Ray Train: end", "model", "closing",
    "Ray Tune",
)  # fmt: skip
OWN = ("check of the data", "data and network", "checkpoint and report", "tracking", "model", "closing")


def main(file: str | None, *, reused: int, plain: int) -> None:
    """Run both sweeps, print the table, and write the figures into a file."""
    from jobs.ray_cluster.session import ray_session

    with tempfile.TemporaryDirectory(prefix="attn-sweep-") as folder, ray_session(dashboard=True):
        results = {"reused": _sweep(Path(folder), "reused", reused), "plain": _sweep(Path(folder), "plain", plain)}
    imports = _imports()
    print(_table(results, {"reused": reused, "plain": plain}, imports))
    if file is not None:
        Path(file).write_text(json.dumps({**results, "trials": [reused, plain], "imports": imports}, indent=1))


def _sweep(folder: Path, name: str, trials: int) -> dict[str, float]:
    """Seconds of each part, a trial."""
    from ray import tune

    import jobs.sweep

    spans = folder / name
    spans.mkdir()
    os.environ[FOLDER] = str(spans)
    watch(jobs.sweep._Sweep, "begin", "begin")  # pyright: ignore[reportPrivateUsage]
    watch(jobs.sweep._Sweep, "tune", "tune")  # pyright: ignore[reportPrivateUsage]
    config, base = read_sweep(TEXT, "sweep", [f"search.trials={trials}", f"root={folder / 'runs'}"])
    here = name == "reused"
    timed = timed_trial(str(spans), here=here)
    give = tune.with_resources
    with (
        mock.patch("ray.tune.with_resources", lambda trial, resources: give(timed, resources)),
        mock.patch("jobs.sweep.in_one_process", return_value=here),
        mock.patch("jobs.sweeps.plan.in_one_process", return_value=here),
    ):
        result = jobs.sweep.run(LoadedSweep(config, base), run_id=name)
    assert result.counts == {"done": trials}, result.counts
    print(f"{name}: {trials} trials in {result.seconds} s", file=sys.stderr, flush=True)
    return _parts(read(spans), trials)


def _parts(spans: list[dict[str, Any]], trials: int) -> dict[str, float]:
    total = dict.fromkeys(PARTS, 0.0)
    steps: list[float] = []
    for name in OWN:
        total[name] = sum(span["seconds"] for span in spans if span["name"] == name)
    begins, setups, fits, workers, turns = (
        [span for span in spans if span["name"] == name] for name in ("begin", "setup", "Ray Train", "worker", "turn")
    )
    total["record of the trial"] = sum(span["seconds"] for span in begins)
    for begin, setup in zip(begins, setups, strict=True):
        total["process start and imports"] += setup["begun"] - begin["begun"] - begin["seconds"]
    for fit, worker in zip(fits, workers, strict=True):
        total["Ray Train: start and imports"] += worker["begun"] - fit["begun"]
        total["Ray Train: end"] += fit["begun"] + fit["whole"] - worker["begun"] - worker["seconds"]
    # The wait for Ray Tune lies within the checkpoint's span, where the trial trains in its own process.
    if not fits:
        total["checkpoint and report"] -= sum(span["seconds"] for span in turns)
    training = sum(span["seconds"] for span in spans if span["name"] in ("training", "step"))
    firsts: list[float] = []
    for epoch in (span for span in spans if span["name"] == "training"):
        ends = [span["begun"] for span in spans if span["name"] == "step"
                and epoch["begun"] <= span["begun"] <= epoch["begun"] + epoch["whole"]]  # fmt: skip
        if ends:
            steps += [b - a for a, b in itertools.pairwise(ends)]
            firsts.append(ends[0] - epoch["begun"])
    usual = statistics.median(steps)
    total["first step"] = max(0.0, sum(sorted(firsts)[-trials:]) - trials * usual)
    whole = sum(span["whole"] for span in spans if span["name"] == "tune")
    total["Ray Tune"] = whole - training - sum(total.values()) + total["first step"]
    each = {name: seconds / trials for name, seconds in total.items()}
    each["training"] = training / trials - each["first step"]
    each["outside"] = sum(each[name] for name in PARTS)
    each["step"] = usual
    return each


def _imports() -> float:
    """Seconds in which a process of its own imports what a worker needs; the faster of two."""
    times: list[float] = []
    for _ in range(2):
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import jobs.training.worker"], check=True)
        times.append(time.perf_counter() - begun)
    return min(times)


def _table(measured: dict[str, dict[str, float]], trials: dict[str, int], imports: float) -> str:
    reused, plain = measured["reused"], measured["plain"]
    lines = [f"| seconds a trial | reused ({trials['reused']} trials) | plain ({trials['plain']}) |", "|---|---|---|"]
    lines += [f"| {part} | {reused[part]:.2f} | {plain[part]:.2f} |" for part in PARTS]
    lines.append(f"| **outside training** | **{reused['outside']:.2f}** | **{plain['outside']:.2f}** |")
    lines.append(f"| training | {reused['training']:.2f} | {plain['training']:.2f} |")
    ratio = plain["outside"] / reused["outside"]
    lines += [
        "",
        f"Outside training, plain to reused: {ratio:.1f}. A process alone imports all of it in {imports:.1f} s.",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sweep")
    parser.add_argument("file", nargs="?", help="where the figures go, as JSON")
    parser.add_argument("--reused", type=int, default=5)
    parser.add_argument("--plain", type=int, default=2)
    given = parser.parse_args()
    main(given.file, reused=given.reused, plain=given.plain)
