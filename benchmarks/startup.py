"""How long a training takes from its command to its first step, and to its end, with and without compiled libraries.

    python -m benchmarks.startup --rounds 3

Each round starts `attn train` on a few tiny scenes with two workers, once as set-up leaves the machine, and once with
an empty bytecode cache that may not be written (`PYTHONDONTWRITEBYTECODE=1`, as some environments have it): there,
each of a run's processes compiles all that it imports. Seconds, median and range of the rounds.
"""

from __future__ import annotations

__all__ = ["main"]

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time

OVERRIDES = (
    "data.count=64", "data.size=32", "input.size=32", "training.epochs=1", "training.batch_size=16",
    "method.warmup_epochs=0", "cluster.workers=2",
)  # fmt: skip
COMMAND = (sys.executable, "-c", "from services.cli.main import main; main()", "train", "scenes_gain")
WAYS = ("compiled", "not compiled")


def main(rounds: int) -> None:
    """Print the seconds of each round, and a line a way at the end."""
    results: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    for number in range(rounds):
        for way in WAYS if number % 2 else reversed(WAYS):
            results[way].append(_seconds(compiled=way == "compiled"))
            print(f"round {number + 1}, {way}: first step {results[way][-1][0]:.1f}, end {results[way][-1][1]:.1f}")
    for way, times in results.items():
        parts = (
            f"{name} {statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"
            for name, values in zip(("first step", "end"), zip(*times, strict=True), strict=True)
        )
        print(f"{way}: {', '.join(parts)}")


def _seconds(*, compiled: bool) -> tuple[float, float]:
    """From the start of a process to its first step's line, and to its end."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    with tempfile.TemporaryDirectory(prefix="attn-startup-") as folder:
        if not compiled:
            environment |= {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPYCACHEPREFIX": f"{folder}/cache"}
        start, first = time.monotonic(), 0.0
        command = [*COMMAND, f"root={folder}/runs", *OVERRIDES]
        with subprocess.Popen(
            command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        ) as run:
            assert run.stderr is not None
            for line in run.stderr:
                if "step 1/" in line:
                    first = time.monotonic() - start
        assert run.returncode == 0, f"the training ended with {run.returncode}"
        assert first, "the training told of no step"
        return first, time.monotonic() - start


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    main(parser.parse_args().rounds)
