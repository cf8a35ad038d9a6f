"""End a driver of this machine at once: `python -m services.kill_driver ORDER`, which runs as a Ray Job of its own."""

from __future__ import annotations

__all__ = ["main"]

import contextlib
import sys

import psutil


def main(order: str) -> int:
    """Kill the process that works on an order, and those that it started.

    Returns:
        The exit status: 0 also where there is no such process any more.
    """
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.cmdline()[-2:] == ["services.driver", order]:
                for one in [*process.children(recursive=True), process]:
                    with contextlib.suppress(psutil.Error):
                        one.kill()
                print(f"killed process {process.pid}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
