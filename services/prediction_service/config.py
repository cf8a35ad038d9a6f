"""Configuration of the prediction service."""

from __future__ import annotations

__all__ = ["DeployConfig", "LabelStudioConfig", "RequestLimits"]

import re
from typing import Annotated

from pydantic import Field, PositiveFloat, field_validator, model_validator

from attn.config.base import Config, FieldError, Location
from attn.prediction.config import ImagePredictConfig
from attn.tracking.config import TrackingConfig, default_tracking

PLAIN_URL = re.compile(r"https?://[^/@?#\s]+(/[^@?#\s]*)?")


class RequestLimits(Config):
    """Limits of one request; a request beyond them is refused.

    Attributes:
        bytes: Size of its body.
        images: Number of its images.
        seconds: Time for its answer.
        waiting: Requests that wait for a replica, of each front; one more is refused with 429 and `Retry-After`.
    """

    bytes: int = Field(default=32 << 20, ge=1 << 10, le=1 << 30)
    images: int = Field(default=16, ge=1, le=1000)
    seconds: float = Field(default=60.0, gt=0, le=3600)
    waiting: int = Field(default=1000, ge=1)


class LabelStudioConfig(Config):
    """Where images of Label Studio's tasks may be read. Without any, tasks must contain their images as `data:` URIs.

    Attributes:
        url: Label Studio's address, for images that it keeps; its key is read from LABEL_STUDIO_API_KEY.
        roots: Folders and `s3://` prefixes of images. Paths of local files are relative to the first one.
    """

    url: str | None = None
    roots: Annotated[tuple[Location, ...], Field(strict=False)] = ()

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str | None) -> str | None:
        if url is not None and not PLAIN_URL.fullmatch(url):
            raise FieldError("is not a plain URL", "http://HOST:8080")
        return url


class DeployConfig(Config):
    """A trained model as a service.

    Attributes:
        model: `NAME@ALIAS` or `NAME/VERSION` of the registry, or a trained model's folder. Replicas follow an alias.
        root: Folder or `s3://` prefix of the runs, whose registry is used if `tracking.uri` names no other.
        predict: How images are predicted. Larger images than `max_pixels` are refused.
        min_replicas: Number of replicas, each with the model, that run at least.
        max_replicas: Largest number of replicas; more are started while requests wait.
        cpus: Cores, and threads, of a replica.
        gpus: GPUs of a replica, which may be a fraction.
        batch_size: Largest number of images that the network gets at once.
        batch_wait: Seconds to wait for more images.
        watch_seconds: Seconds between two looks of a replica at the alias.
        fronts: Number of processes that check requests and pass images on to replicas.
        front_cpus: Cores of a front; 0 lets it run beside replicas, and on machines without CPUs in Ray.
        any_host: Accept requests by any host name, where another server passes them on.
        limits: Limits of one request.
        label_studio: Images of Label Studio's tasks.
    """

    model: str = Field(min_length=1)
    root: Location = "runs"
    tracking: TrackingConfig = Field(default_factory=lambda: default_tracking(enabled=False))
    predict: ImagePredictConfig = ImagePredictConfig(max_pixels=1 << 24)
    min_replicas: int = Field(default=1, ge=1)
    max_replicas: int = Field(default=4, ge=1)
    cpus: PositiveFloat = 1.0
    gpus: float = Field(default=0.0, ge=0)
    batch_size: int = Field(default=8, ge=1, le=1024)
    batch_wait: float = Field(default=0.01, ge=0, le=10)
    watch_seconds: float = Field(default=10.0, gt=0)
    fronts: int = Field(default=1, ge=1)
    front_cpus: float = Field(default=0.0, ge=0)
    any_host: bool = False
    limits: RequestLimits = RequestLimits()
    label_studio: LabelStudioConfig = LabelStudioConfig()

    @model_validator(mode="after")
    def _check_replicas(self) -> DeployConfig:
        if self.max_replicas < self.min_replicas:
            raise FieldError(
                f"min_replicas={self.min_replicas} is larger than max_replicas={self.max_replicas}",
                "raise max_replicas",
            )
        return self
