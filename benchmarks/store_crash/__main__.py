"""The crash matrix of the map store: processes killed at every labelled point, and what they left held to the truth.

    python -m benchmarks.store_crash --kills 240 --json crash.json
    python -m benchmarks.store_crash --kills 40 --naive            # the control: must fail

A trial is a run of some epochs on a small store: writers take maps step by step, seal, and the driver commits, reports
a checkpoint that names the version, and then publishes it; now and then it collects garbage. The process is killed
with SIGKILL at a labelled point, or stopped there and let go on when the next attempt is at work (a zombie); then
another attempt resumes from the last durable checkpoint. Maps depend on the attempt, as training that is not
deterministic makes them,
so maps of steps that a restart has thrown away are seen wherever they get in.

After every death the version that the last durable checkpoint names must hold exactly the maps of that checkpoint's
history, and at the end its digest must be that of a store into which nothing but the surviving history was written.
`--naive` merges whatever lies in the epoch's folder, as a store without attempts would.

A checkpoint is durable when its file has its name; the moment before stands for Ray's report, which returns
before the controller has committed.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from benchmarks.store_crash.matrix import GAP, matrix
from benchmarks.store_crash.trial import Trial


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=240)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--gap", type=float, default=0.4, help="share of the kills between commit and checkpoint")
    parser.add_argument("--zombies", type=float, default=0.15, help="share that is stopped and goes on later")
    parser.add_argument("--uri", help="s3://bucket/prefix to run on; left out, a temporary folder")
    parser.add_argument("--naive", action="store_true", help="merge whatever lies there: the control, which must fail")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()

    # A killed process leaves what it wrote in the kernel's cache: memory tells the same as a disk, and sooner.
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(prefix="store-crash-", dir=memory) as base:

        def trial_at(number: int) -> Trial:
            folder = Path(base, str(number))
            folder.mkdir()
            uri = f"{arguments.uri.rstrip('/')}/{number}" if arguments.uri else str(folder / "store")
            return Trial(uri, folder, number, naive=arguments.naive)

        result = matrix(
            arguments.kills, trial_at, gap_share=arguments.gap, stop_share=arguments.zombies, seed=arguments.seed
        )
    deaths, zombies = result.deaths.total(), result.zombies.total()
    print(f"{'point':24}{'killed':>8}{'stopped':>9}")
    for point in sorted(result.deaths | result.zombies):
        print(f"{point:24}{result.deaths[point]:8}{result.zombies[point]:9}")
    inside = sum(result.deaths[point] for point in GAP)
    print(f"{result.trials} runs, {deaths} kills ({inside} between commit and checkpoint), {zombies} zombies")
    print("\n".join(result.faults) or "every version was that of its history")
    if arguments.json:
        record = {
            "settings": {name: str(value) for name, value in vars(arguments).items()},
            "runs": result.trials,
            "kills": result.deaths,
            "zombies": result.zombies,
            "faults": result.faults,
        }
        arguments.json.write_text(json.dumps(record, indent=1, sort_keys=True))
    if bool(result.faults) != arguments.naive:
        raise SystemExit("the control passed" if arguments.naive else f"{len(result.faults)} faults")


if __name__ == "__main__":
    main()
