"""Starting Ray in this process, or joining a cluster; and how many threads a worker may use."""

from __future__ import annotations

__all__ = ["Resources", "plan_resources", "ray_session", "threads_of"]

import contextlib
import logging
import os
import secrets
import signal
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from attn import progress
from attn.errors import RunError
from attn.files.roots import ROOTS_VARIABLE as DATA_ROOTS
from attn.files.s3 import CHECKSUMS, checksums
from attn.proxies import bypass_proxies_for_loopback
from attn.training.config import ClusterConfig

# A worker group that starts again does so at once, and a report waits for the next poll: two seconds each by default.
ENVIRONMENT = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.3",
    "RAY_TRAIN_ENABLE_STATE_ACTOR_RECONCILIATION": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "0",
    # No task of others runs on a node that this process has started: SIGTERM need not wait for them to leave it.
    "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
    # One idle process for each core, which trainings do not use: their workers have environments of their own.
    "RAY_prestart_worker_first_driver": "0",
}


@dataclass(frozen=True)
class Resources:
    """Resources of one training worker."""

    use_gpu: bool
    threads: int
    per_worker: dict[str, float]


@contextlib.contextmanager
def ray_session(address: str | None = None, *, dashboard: bool = False) -> Iterator[None]:
    """Ray for the time of a job: the session that is already up, a cluster by its address, or one of this machine.

    Args:
        dashboard: Start the dashboard too, on loopback. Ray needs it where runs are ended from outside, to free what
            they held.

    Raises:
        RunError: The address does not answer.
    """
    bypass_proxies_for_loopback()
    for name, value in {**ENVIRONMENT, **checksums()}.items():
        os.environ.setdefault(name, value)
    if address is None and "RAY_AUTH_MODE" not in os.environ:
        # Ray listens on every interface: only processes of this session know the token, and no file holds it.
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    if address is None:  # nobody takes this machine away: one process less
        os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
    import ray

    if ray.is_initialized():
        yield
        return
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": False}
    with progress.task("starting Ray" if address is None else f"joining Ray at {address}"), _sigterm_kept():
        try:
            if address is None:
                _start_local({**quiet, "include_dashboard": dashboard})
            else:
                from attn.models.factory import FACTORIES  # imports torch

                # The nodes of a cluster do not start their workers with this process's environment.
                given = {name: os.environ[name] for name in (*CHECKSUMS, DATA_ROOTS, FACTORIES) if name in os.environ}
                ray.init(address, runtime_env={"env_vars": given}, **quiet)
        except Exception as error:  # Ray raises bare Exceptions here
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            what = f"no Ray cluster at {address!r}" if address else "Ray did not start on this machine"
            unwritable = isinstance(error, OSError) and not address
            fix = "; set RAY_TMPDIR to a folder that can be written" if unwritable else ""
            raise RunError(f"{what}: {reason}{fix}") from error
    try:
        yield
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _sigterm_kept() -> Iterator[None]:
    """Let SIGTERM do after the body what it did before: Ray has handlers of its own, in Python and in C++.

    The one in C++ prints addresses of the program, and ends the process three seconds later, whatever it does then; the
    one in Python prints an error where Ray's own processes have ended first. Python's handler is installed anew, also
    where only Ray has one, so that the one in C++ is gone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(
            signal.SIGTERM, before if callable(before) else signal.getsignal(signal.SIGTERM) or signal.SIG_DFL
        )


def _start_local(options: dict[str, Any]) -> None:
    """Start Ray here; once more where a busy machine let its half minute pass, which Ray does not let one change."""
    import ray

    try:
        ray.init("local", **options)
    except Exception as error:
        if "timed out during startup" not in str(error):
            raise
        ray.shutdown()
        ray.init("local", **options)


def _uses_gpus(cluster: ClusterConfig, gpus: int) -> bool:
    return cluster.device == "gpu" or (cluster.device == "auto" and gpus >= cluster.workers)


def threads_of(cluster: ClusterConfig, cores: Sequence[int], gpus: int) -> int:
    """The threads of each worker.

    Args:
        cores: Of each machine.
        gpus: Of all machines.
    """
    if cluster.threads is not None:
        return cluster.threads
    threads = 1
    while sum(core // (threads + 1) for core in cores) >= cluster.workers:
        threads += 1
    return min(threads, 1 + cluster.data_workers) if _uses_gpus(cluster, gpus) else threads


def plan_resources(cluster: ClusterConfig, *, may_autoscale: bool = False) -> Resources:
    """Spread the cluster's cores over the workers: never more threads than cores.

    Args:
        may_autoscale: The cluster starts machines when they are asked for: what it lacks now is no fault.

    Raises:
        RunError: The cluster cannot hold the workers that the config asks for.
    """
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    cores = [int(node.get("CPU", 0)) for node in nodes]
    gpus = int(sum(node.get("GPU", 0) for node in nodes))
    use_gpu = _uses_gpus(cluster, gpus)
    if use_gpu and gpus < cluster.workers and not may_autoscale:
        raise RunError(f"cluster.workers={cluster.workers} need as many GPUs; there are {gpus}. Use cluster.device=cpu")
    threads = threads_of(cluster, cores, gpus)
    if sum(core // threads for core in cores) < cluster.workers and not may_autoscale:
        raise RunError(
            f"cluster.workers={cluster.workers} of {threads} thread{'s' if threads > 1 else ''} each need more cores "
            f"than the {sum(cores)} there are; use fewer workers or cluster.threads"
        )
    return Resources(use_gpu, threads, {"CPU": threads, **({"GPU": 1} if use_gpu else {})})
