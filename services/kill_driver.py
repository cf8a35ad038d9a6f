"""Kill a driver on this node: `python -m services.kill_driver ORDER`, run as a separate Ray Job."""

from __future__ import annotations

__all__ = ["main"]

import contextlib
import sys

import psutil


def main(order: str) -> int:
    """Kill the driver of an order file and its child processes.

    Returns:
        The exit status: 0, also if the process has ended already.
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
