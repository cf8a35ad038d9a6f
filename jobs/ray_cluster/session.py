"""Starting Ray in this process, or joining a cluster; and how many threads a worker may use."""

from __future__ import annotations

__all__ = ["Resources", "most_threads", "plan_resources", "plan_workers", "ray_session", "threads_of", "uses_gpus"]

import contextlib
import functools
import logging
import os
import secrets
import signal
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from attn import progress
from attn.errors import AttnError, RunError
from attn.files.patience import PATIENCE_VARIABLE
from attn.files.roots import ROOTS_VARIABLE as DATA_ROOTS
from attn.files.s3 import CHECKSUMS, checksums
from attn.own_code import code_folder, shadowing
from attn.proxies import bypass_proxies_for_loopback
from attn.training.config import ClusterConfig
from jobs.ray_cluster.capacity import Capacity, Machine, cluster_capacity, places
from jobs.ray_cluster.shipped_code import job_environment

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

_started_here = threading.Event()
"""Whether the session that is up is one of this machine, which no other machine joins."""


@dataclass(frozen=True)
class Resources:
    """Resources of one training worker."""

    use_gpu: bool
    threads: int
    per_worker: dict[str, float]

    @property
    def backend(self) -> str:
        """What exchanges gradients: NCCL refuses two processes on one GPU."""
        return "nccl" if self.per_worker.get("GPU", 0) >= 1 else "gloo"


@contextlib.contextmanager
def ray_session(address: str | None = None, *, dashboard: bool = False) -> Iterator[None]:
    """Ray for the time of a job: the session that is already up, a cluster by its address, or one of this machine.

    Processes of a cluster run the packages that this process runs: a copy is sent to them.

    Args:
        dashboard: Start the dashboard too, on loopback. Ray needs it where runs are ended from outside, to free what
            they held.

    Raises:
        RunError: The address does not answer, or the code is too large to be sent. Or Ray is to start in a folder that
            has another package with the name of one of ours.
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
                _check_path_of_workers()
                _start_local({**quiet, "include_dashboard": dashboard})
            else:
                from attn.models.factory import FACTORIES  # imports torch

                # The nodes of a cluster do not start their workers with this process's environment.
                given = {
                    name: os.environ[name]
                    for name in (*CHECKSUMS, PATIENCE_VARIABLE, DATA_ROOTS, FACTORIES)
                    if name in os.environ
                }
                with job_environment(given, os.environ.get(FACTORIES, "")) as environment:
                    ray.init(address, runtime_env=environment, **quiet)
        except AttnError:
            raise
        except Exception as error:  # Ray raises bare Exceptions here
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            what = f"no Ray cluster at {address!r}" if address else "Ray did not start on this machine"
            unwritable = isinstance(error, OSError) and not address
            fix = "; set RAY_TMPDIR to a folder that can be written" if unwritable else ""
            raise RunError(f"{what}: {reason}{fix}") from error
    try:
        if address is None:
            _started_here.set()
        yield
    finally:
        _started_here.clear()
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


def _check_path_of_workers() -> None:
    """Check that workers on this machine will import our packages: Ray puts the working directory before all others."""
    if (other := shadowing([""])) is not None:
        raise RunError(
            f"the working directory has a package {other.stem!r} ({other}), which Ray's workers would import in place "
            f"of {code_folder() / other.stem}: start the run from another folder"
        )


def _start_local(options: dict[str, Any]) -> None:
    """Start Ray here; once more where a busy machine let its half minute pass, which Ray does not let one change."""
    import ray

    with _without_monitors():
        try:
            ray.init("local", **options)
        except Exception as error:
            if "timed out during startup" not in str(error):
                raise
            ray.shutdown()
            ray.init("local", **options)


@contextlib.contextmanager
def _without_monitors() -> Iterator[None]:
    """Let Ray start two processes less, each of which imports for a second: no machine is added, and no output shown.

    One asks an autoscaler for machines; the other sends what workers print to this process, which is told to ignore it.
    `ray start` has an option for the first, and Ray's parameters have one for each; `ray.init` passes neither on. With
    a Ray that has renamed them both processes start.
    """
    fewer: dict[str, Any] = {"no_monitor": True, "include_log_monitor": False}
    try:
        from ray._private import parameter

        given = parameter.RayParams
        given(**fewer)
    except (ImportError, AttributeError, TypeError):
        yield
        return
    parameter.RayParams = functools.partial(given, **fewer)
    try:
        yield
    finally:
        parameter.RayParams = given


def uses_gpus(cluster: ClusterConfig, machines: Sequence[Machine]) -> bool:
    """Whether workers train on GPUs: as the config says, or by `auto` where each of them can have its own."""
    if cluster.device != "auto":
        return cluster.device == "gpu"
    return places(machines, cluster.threads or 1, cluster.gpus_per_worker) >= cluster.least_workers


def threads_of(cluster: ClusterConfig, capacity: Capacity) -> int:
    """The threads of each worker: as many as let all of them run on the machines at once."""
    if cluster.threads is not None:
        return cluster.threads
    gpus = cluster.gpus_per_worker if uses_gpus(cluster, capacity.machines) else 0
    threads = most_threads(capacity.machines_for(cluster.most_workers, gpus), cluster.most_workers, gpus)
    return min(threads, 1 + cluster.gpu_loaders) if gpus else threads


def most_threads(machines: Sequence[Machine], workers: int, gpus: float) -> int:
    """How many threads each of so many workers may have; 1 where the machines do not hold them."""
    most = max((machine.cores for machine in machines), default=1)
    threads = 1
    while threads < most and places(machines, threads + 1, gpus) >= workers:
        threads += 1
    return threads


def plan_resources(cluster: ClusterConfig, *, may_grow: bool = False) -> Resources:
    """Spread the cores of the session that is up over the workers: never more threads than cores.

    Machines that the cluster's autoscaler may start count as those that are up.

    Args:
        may_grow: Machines may join the session, also where no autoscaler starts them, unless it is one of this machine:
            the run waits for those it lacks.

    Raises:
        RunError: The session cannot hold the workers that the config asks for.
    """
    capacity = cluster_capacity()
    use_gpu = uses_gpus(cluster, capacity.machines)
    gpus = cluster.gpus_per_worker if use_gpu else 0
    threads = threads_of(cluster, capacity)
    lacking = _lacking(cluster, capacity, threads, gpus)
    unknown = f", and which machines it may start is not known ({capacity.unknown})" if capacity.unknown else ""
    if lacking is not None:
        what, fix = lacking
        if capacity.autoscaled or not (may_grow or unknown) or _started_here.is_set():
            raise RunError(f"{what}; {fix}")
        progress.say(
            f"notice: {what}{unknown}. The run waits for machines, up to cluster.start_timeout="
            f"{cluster.start_timeout:g} s; or {fix}"
        )
    elif cluster.device == "auto" and not use_gpu and (unknown or any(machine.gpus for machine in capacity.machines)):
        fix = "set cluster.device=gpu" if unknown else "use fewer workers"
        progress.say(
            f"notice: cluster.workers={cluster.most_workers} train on CPUs, because {capacity.gpus_in_words}{unknown}; "
            f"{fix} to train on GPUs"
        )
    return Resources(use_gpu, threads, {"CPU": threads, **({"GPU": gpus} if use_gpu else {})})


def plan_workers(cluster: ClusterConfig, resources: Resources) -> int | tuple[int, int]:
    """How many workers train: a range if machines may join the session that is up, or leave it."""
    if not cluster.is_elastic:
        return cluster.most_workers
    if not _started_here.is_set():
        return cluster.worker_range
    cores, gpus = resources.threads, resources.per_worker.get("GPU", 0)
    return cluster.workers_for(places(cluster_capacity().machines, cores, gpus)) or cluster.least_workers


def _lacking(cluster: ClusterConfig, capacity: Capacity, threads: int, gpus: float) -> tuple[str, str] | None:
    """What the machines lack for all workers, or for the fewest that may train, and what helps."""
    shown = list(cluster.worker_range) if cluster.is_elastic else cluster.most_workers
    machines = capacity.machines_for(cluster.most_workers, gpus)
    if gpus and places(machines, 0, gpus) < cluster.least_workers:
        return (
            f"cluster.workers={shown} need {gpus:g} GPUs each; {capacity.gpus_in_words}",
            "use fewer workers, cluster.device=cpu or a smaller cluster.gpus_per_worker",
        )
    if places(machines, threads, gpus) < cluster.least_workers:
        beside = f" beside a GPU of the {sum(machine.gpus for machine in machines)}" if gpus else ""
        return (
            f"cluster.workers={shown} of {threads} thread{'s' if threads > 1 else ''} each need more cores "
            f"than the {sum(machine.cores for machine in machines)} there are{beside}",
            "use fewer workers or cluster.threads",
        )
    return None
