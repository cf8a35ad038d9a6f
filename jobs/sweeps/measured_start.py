"""How long Ray and a worker take to start, measured. Ray reads its token at its import, so nothing here imports it."""

from __future__ import annotations

__all__ = ["measured_start"]

import time
from typing import Any

from attn.runs.composed import ComposedConfig
from attn.runs.table import KINDS
from attn.training.run_config import RunConfig
from jobs.ray_cluster.session import ray_session


def measured_start(config: RunConfig | ComposedConfig) -> tuple[float, float]:
    """Seconds that Ray takes to start and end, and a worker to start and import what a training needs."""
    build, tracking = KINDS[config.kind].build, config.tracking
    modules = ["jobs.training.worker", "sklearn.metrics", *([build.partition(":")[0]] if build else [])]
    modules += ["attn.tracking.mlflow_tracker", "mlflow"] if tracking.enabled else []
    modules += ["attn.pictures.preview"] if tracking.preview_images else []
    begun = time.perf_counter()
    with ray_session():
        import ray

        task: Any = ray.remote(_import_modules).options(num_cpus=1)
        started = time.perf_counter()
        ray.get(task.remote(modules))
        workers = time.perf_counter() - started
    return time.perf_counter() - begun - workers, workers


def _import_modules(modules: list[str]) -> None:
    from importlib import import_module

    for module in modules:
        import_module(module)
