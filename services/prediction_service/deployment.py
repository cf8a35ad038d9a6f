"""The prediction service on Ray Serve: fronts check requests, replicas with the model answer them in batches."""

from __future__ import annotations

__all__ = ["Front", "ModelReplica", "application"]

import asyncio
import math
import os
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fastapi import FastAPI
from ray import serve
from ray.exceptions import NodeDiedError, ObjectLostError, RayActorError, WorkerCrashedError
from ray.serve import Application
from ray.serve.config import AutoscalingConfig, BackpressureConfig
from ray.serve.exceptions import BackPressureError
from ray.serve.handle import DeploymentHandle
from ray.serve.metrics import Counter, Gauge, Histogram
from ray.serve.schema import LoggingConfig

from attn.errors import RunError
from attn.prediction import ImagePrediction
from services.access import digests_of, tokens_of
from services.prediction_service.answer import Wanted
from services.prediction_service.app import create_app
from services.prediction_service.config import DeployConfig
from services.prediction_service.engine import BusyError, LostError, Pipeline
from services.prediction_service.served_model import BatchItem, OpenedModel, ServedModel
from services.problems import RETRY_SECONDS

TOKENS_VARIABLE = "ATTN_SERVICE_TOKENS"
"""Environment variable with the tokens as JSON, for a manifest: of a secret, say."""
ATTEMPTS = 3
"""Replicas that an image is given to, if they end while they predict it; it may be the reason."""
LOST = (RayActorError, NodeDiedError, ObjectLostError, WorkerCrashedError)
SECONDS = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0]
SIZES = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0]
DRAIN_SECONDS = 60.0
"""Time that a replica has to answer what it has begun, before it is ended."""


class ModelReplica:
    """A process with the model."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        """Open the model, and begin to watch its alias.

        Args:
            config: A `DeployConfig` as JSON values.
        """
        import torch

        given = DeployConfig.model_validate(config)
        torch.set_num_threads(max(1, int(given.cpus)))
        self._served = ServedModel(given.model, given, given.predict, batch_size=given.batch_size)
        self._watched_every = given.watch_seconds
        self._thread = ThreadPoolExecutor(1, "network")
        self._metrics = _Metrics()
        self._metrics.opened(self._served.current)

        @serve.batch(max_batch_size=given.batch_size, batch_wait_timeout_s=given.batch_wait)
        async def run(items: list[BatchItem]) -> list[ImagePrediction | Exception]:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._predict, items)

        self._pipeline = Pipeline(self._served, given.predict.max_pixels, run)
        self._watch = threading.Thread(target=self._follow, name="watch", daemon=True)
        self._watch.start()

    async def predict(self, image: bytes, wanted: Wanted) -> dict[str, Any]:
        """As `Engine.predict`."""
        before = time.monotonic()
        answer = await self._pipeline.predict(image, wanted)
        self._metrics.answered(answer, time.monotonic() - before)
        return answer

    async def describe(self) -> dict[str, Any]:
        """As `Engine.describe`, with the replica's process."""
        return {**await self._pipeline.describe(), "process": os.getpid()}

    def check_health(self) -> None:
        """Called by Serve, which replaces a replica that raises.

        Raises:
            RunError: Nothing follows the alias any more.
        """
        if not self._watch.is_alive() and self._served.follows:
            raise RunError("the thread that follows the alias has ended")

    def _predict(self, items: Sequence[BatchItem]) -> list[ImagePrediction | Exception]:
        self._metrics.sizes.observe(len(items))
        return self._served.predict(items)

    def _follow(self) -> None:
        while self._served.follows:
            time.sleep(self._watched_every)
            before = self._served.problem
            if self._served.look():
                self._metrics.opened(self._served.current)
            if self._served.problem not in (None, before):
                print(f"the alias is not followed: {self._served.problem}", file=sys.stderr, flush=True)


class _Metrics:
    """What Ray's Prometheus endpoints say of a replica; Serve adds deployment and replica."""

    def __init__(self) -> None:
        self.images = Counter("attn_predicted_images", "Images that were answered.", ("model",))
        self.refused = Counter("attn_refused_images", "Images that could not be used.")
        self.seconds = Histogram("attn_image_seconds", "Time from an image's bytes to its answer.", SECONDS)
        self.sizes = Histogram("attn_batch_images", "Images that the network got at once.", SIZES)
        self.version = Gauge("attn_model_version", "The version that a replica has opened.", ("name",))

    def opened(self, model: OpenedModel) -> None:
        if model.version is not None:
            self.version.set(model.version, {"name": model.name})

    def answered(self, answer: Mapping[str, Any], seconds: float) -> None:
        if "refused" in answer:
            self.refused.inc()
            return
        model = answer["model"]
        self.images.inc(tags={"model": f"{model['name']}/{model['version'] or ''}"})
        self.seconds.observe(seconds)


class _Replicas:
    """The engine of a front: gives images to replicas, and once more where a replica ends meanwhile."""

    def __init__(self, handle: DeploymentHandle) -> None:
        self._handle = handle

    async def predict(self, image: bytes, wanted: Wanted) -> dict[str, Any]:
        return await self._call("predict", image, wanted)

    async def describe(self) -> dict[str, Any]:
        return await self._call("describe")

    async def _call(self, method: str, *arguments: Any) -> dict[str, Any]:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await self._handle.options(method_name=method).remote(*arguments)
            except BackPressureError:
                raise BusyError("too many requests wait for a replica: try again later") from None
            except LOST as error:
                print(f"attempt {attempt} of {ATTEMPTS}: {type(error).__name__}", file=sys.stderr, flush=True)
        raise LostError(f"{ATTEMPTS} replicas ended while they predicted this image: try again later, or another one")


class Front:
    """A process that receives requests."""

    def __init__(self, replicas: DeploymentHandle, config: Mapping[str, Any], digests: Mapping[str, str]) -> None:
        """Keep what the application needs.

        Args:
            config: A `DeployConfig` as JSON values.
            digests: Roles by the SHA-256 of the token.
        """
        self._replicas, self._config, self._digests = replicas, DeployConfig.model_validate(config), digests

    def __serve_build_asgi_app__(self) -> FastAPI:  # the name is Ray Serve's
        return create_app(
            _Replicas(self._replicas),
            self._config.limits,
            self._config.label_studio,
            digests=self._digests,
            any_host=self._config.any_host,
        )


def application(given: dict[str, Any]) -> Application:
    """Build the application: what a Serve config names as `import_path`, with the fields of `DeployConfig` as `args`.

    Tokens are read from the environment variable ATTN_SERVICE_TOKENS, JSON `{"TOKEN": "ROLE"}`.

    Raises:
        ConfigError: A field or token is not valid, or there are no tokens.
    """
    import yaml

    from attn.config.resolve import resolve

    config = resolve(DeployConfig, yaml.safe_dump(given), "args", [])
    tokens = tokens_of(os.environ.get(TOKENS_VARIABLE, ""), TOKENS_VARIABLE)
    return build(config, digests_of(tokens))


def build(config: DeployConfig, digests: Mapping[str, str]) -> Application:
    """As `application`, of a config.

    Args:
        digests: Roles by the SHA-256 of the token; empty: no token is needed.
    """
    values = config.model_dump(mode="json")
    quiet = LoggingConfig(enable_access_log=False)
    replica = serve.deployment(
        name="model",
        ray_actor_options={"num_cpus": config.cpus, "num_gpus": config.gpus},
        autoscaling_config=AutoscalingConfig(
            min_replicas=config.min_replicas,
            max_replicas=config.max_replicas,
            target_ongoing_requests=config.batch_size,
            upscale_delay_s=5,
            downscale_delay_s=60,
        ),
        max_ongoing_requests=2 * config.batch_size,
        max_queued_requests=config.limits.waiting,
        graceful_shutdown_timeout_s=DRAIN_SECONDS,
        logging_config=quiet,
    )(ModelReplica)
    front = serve.deployment(
        name="front",
        num_replicas=config.fronts,
        ray_actor_options={"num_cpus": config.front_cpus},
        max_ongoing_requests=config.limits.waiting,
        max_queued_requests=config.limits.waiting,
        backpressure_config=BackpressureConfig(status_code=429, retry_after_s=RETRY_SECONDS),
        graceful_shutdown_timeout_s=math.ceil(config.limits.seconds) + DRAIN_SECONDS,
        logging_config=quiet,
    )(serve.ingress()(Front))
    return front.bind(replica.bind(values), values, dict(digests))
