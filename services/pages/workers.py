"""Where the pages' costly reading is done: in processes of its own for a service, in threads for `attn view`.

Configs, images and map stores need PyTorch and decoders of C. A service keeps both out of its own process, which stays
small, and answers while they work.
"""

from __future__ import annotations

__all__ = ["Call", "ProcessWorkers", "in_thread"]

import asyncio
import multiprocessing
import os
import pkgutil
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Protocol

from attn.errors import RunError
from attn.files.roots import limit_reading
from services.planning import PRELOADED

AT_ONCE = 2
CALL_SECONDS = 120.0


class Call(Protocol):
    """Calls a function by `module:name`, with arguments and a result that can be pickled.

    The caller does not import the function's module, which imports PyTorch.
    """

    async def __call__(self, function: str, *arguments: Any) -> Any: ...


async def in_thread(function: str, *arguments: Any) -> Any:
    """Call a function in a thread of this process."""
    return await asyncio.to_thread(_called, function, *arguments)


class ProcessWorkers:
    """Calls functions in two processes, which start with the first call. One that dies is replaced.

    Args:
        roots: Folders and prefixes below which they read data; elsewhere they read nothing.
    """

    def __init__(self, roots: tuple[str, ...]) -> None:
        self.roots = roots
        self._turn = asyncio.Semaphore(AT_ONCE)  # else the time of a call would also be that of those before it
        self._pool: ProcessPoolExecutor | None = None

    async def __call__(self, function: str, *arguments: Any) -> Any:
        """As `Call`.

        Raises:
            RunError: A process died, or did not answer in time.
        """
        async with self._turn:
            pool = self._started()
            try:
                future = asyncio.get_running_loop().run_in_executor(pool, _called, function, *arguments)
                return await asyncio.wait_for(future, CALL_SECONDS)
            except BrokenProcessPool:
                self._end(pool)
                raise RunError("reading it ended the process that read it: its files may be damaged") from None
            except TimeoutError:
                self._end(pool)
                raise RunError(f"reading it took more than {CALL_SECONDS:g} seconds") from None

    def close(self) -> None:
        """End the processes. The next call starts others."""
        if self._pool is not None:
            self._end(self._pool)

    def _end(self, pool: ProcessPoolExecutor) -> None:
        if pool is self._pool:  # another call may have ended it already
            self._pool = None
        for process in list((getattr(pool, "_processes", None) or {}).values()):  # Python 3.14 has `kill_workers`
            process.kill()
        pool.shutdown(wait=False, cancel_futures=True)

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            context = multiprocessing.get_context("forkserver")
            context.set_forkserver_preload(PRELOADED)
            niceness = os.getpriority(os.PRIO_PROCESS, 0)
            self._pool = ProcessPoolExecutor(AT_ONCE, context, _begin, (self.roots, niceness))
        return self._pool


def _called(function: str, *arguments: Any) -> Any:
    return pkgutil.resolve_name(function)(*arguments)


def _begin(roots: tuple[str, ...], niceness: int) -> None:
    limit_reading(roots)
    os.setpriority(os.PRIO_PROCESS, 0, niceness)
