"""Where jobs write is the service's to say: which fields of a submission say it, wherever they stand."""

from __future__ import annotations

__all__ = ["WRITTEN", "refused_overrides", "written_faults"]

from collections.abc import Iterator

from attn.config.base import Config
from attn.config.document import without_secrets
from attn.config.evaluate import ModelPlace
from attn.config.maps import PngOutput, StoreOutput
from attn.config.pipeline import STAGES, PipelineConfig
from attn.config.run import RunConfig
from attn.errors import Fault
from attn.sweep import SweepConfig
from attn.tracking import TrackingConfig
from attn.training.config import StoreConfig

WRITTEN = ("root", "store", "store.location", "output", "output.location", "tracking")
"""Fields that no override may name; of a pipeline in each section, of a sweep also for its trials."""
SECTIONS = {"pipeline": STAGES, "sweep": ("set", "space")}
HOME = ".service"


def refused_overrides(kind: str, overrides: list[str]) -> dict[str, Fault]:
    """The overrides that would say where a job of a kind writes, each with its fault."""
    refused = {*WRITTEN, *(f"{section}.{field}" for section in SECTIONS.get(kind, ()) for field in WRITTEN)}
    return {
        override: Fault(
            without_secrets(override), "says where a job writes, which is the service's to say", "leave it out"
        )
        for override in overrides
        if override.partition("=")[0].strip() in refused
    }


def written_faults(config: Config, root: str, path: str = "") -> Iterator[Fault]:
    """The places of a checked config, and of all configs in it, that a job may not write to.

    Allowed are the service's root, a store or maps below it, and the tracking server of the service's own environment:
    whoever is tracked at is sent the service's credentials.
    """
    own = list(_own(config, root, path))
    yield from own
    said = {fault.message for fault in own}
    for name in type(config).model_fields:
        if isinstance(inner := getattr(config, name), Config):
            # A pipeline's sections have its root and its tracking: one fault is enough.
            yield from (f for f in written_faults(inner, root, f"{path}{name}.") if f.message not in said)


def _own(config: Config, root: str, path: str) -> Iterator[Fault]:
    if isinstance(config, RunConfig | ModelPlace | PipelineConfig | SweepConfig):
        if config.root != root:
            yield Fault(f"{path}root", f"{config.root} is not the service's root", "leave it out")
        if config.tracking.uri not in (None, TrackingConfig(enabled=False).uri):
            yield Fault(
                f"{path}tracking.uri", "is not the service's own", "MLFLOW_TRACKING_URI of the service, or none"
            )
    if isinstance(config, StoreConfig | StoreOutput | PngOutput) and not _inside(config.location, root):
        yield Fault(f"{path}location", f"{config.location} is outside the service's root", "leave it out")
    if isinstance(config, SweepConfig):
        yield from _searched(config)


def _searched(config: SweepConfig) -> Iterator[Fault]:
    """Of a sweep, what its trials are given: the sweep's own place and record are theirs, whatever they say."""
    for section, fields in (("set", config.set), ("space", config.space)):
        for field in fields:
            if field in WRITTEN or field == "tracking.uri":
                yield Fault(
                    f"{section}.{field}", "says where trials write, which is the service's to say", "leave it out"
                )


def _inside(location: str | None, root: str) -> bool:
    if location is None:
        return True
    return ".." not in location and location.startswith(f"{root}/") and not location.startswith(f"{root}/{HOME}")
