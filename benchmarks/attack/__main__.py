"""The service under attack: by load, and by generated requests.

    python -m benchmarks.attack load [load.json]      # --only submits; about three minutes on two cores
    python -m benchmarks.attack api                   # --seconds 120 --seed 1; needs schemathesis (in `make setup`)

`load` starts `attn serve`. Many clients submit 1,500 jobs and list them, hold 300 connections open that send a byte a
second, and send bodies of 50 MB. It prints what was answered and how soon, how soon `/healthz` was answered beside
it, and the service's memory. `api` ends with 1 where an answer is not as `/openapi.json` says, has a status of 500 or
more, or does not come.
"""

from __future__ import annotations

__all__ = ["main"]

import argparse
import json
import signal
import sys
from pathlib import Path


def main() -> int:
    """One attack, as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attack", description=(__doc__ or "").splitlines()[0])
    kinds = parser.add_subparsers(dest="kind", required=True)
    load = kinds.add_parser("load", help="many clients, slow clients, large bodies")
    load.add_argument("file", nargs="?", type=Path, help="where all figures go, as JSON")
    load.add_argument("--only", nargs="*", help="loads with one of these words in their names")
    api = kinds.add_parser("api", help="generated requests, by schemathesis")
    api.add_argument("--seconds", type=int, default=120)
    api.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started is to be ended, too
    if given.kind == "load":
        from benchmarks.attack.load import attack, table

        rows = attack(given.only)
        print(table(rows))
        if given.file is not None:
            given.file.write_text(json.dumps([vars(row) for row in rows], indent=1), encoding="utf-8")
        return 0
    from benchmarks.attack.api import attack_api

    status, report = attack_api(examples=1000, seconds=given.seconds, seed=given.seed)
    print(report)
    return status


if __name__ == "__main__":
    sys.exit(main())
