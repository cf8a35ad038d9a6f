"""How long Ray and a worker take to start, measured. Ray reads its token at its import, so nothing here imports it."""

from __future__ import annotations

__all__ = ["measured_start"]

import time
from typing import Any

from jobs.ray_cluster.session import ray_session


def measured_start() -> tuple[float, float]:
    """Seconds that Ray takes to start and end, and a worker to start and import what a training needs."""
    begun = time.perf_counter()
    with ray_session():
        import ray

        task: Any = ray.remote(_import_training).options(num_cpus=1)
        started = time.perf_counter()
        ray.get(task.remote())
        workers = time.perf_counter() - started
    return time.perf_counter() - begun - workers, workers


def _import_training() -> None:
    from importlib import import_module

    import_module("jobs.training.worker")
