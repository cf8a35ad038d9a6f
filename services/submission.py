"""What may be submitted: a known kind of job with a recipe or target, checked as a whole before it is taken in."""

from __future__ import annotations

__all__ = ["KINDS", "Submission", "plan_of"]

import hashlib
import os
import re
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from attn.errors import ConfigError, Fault

Kind = Literal["train", "segment", "evaluate", "maps"]
KINDS: tuple[Kind, ...] = ("train", "segment", "evaluate", "maps")
WRITTEN = ("root", "store", "store.location", "output", "output.location", "tracking")
"""Fields that say where a job writes: the service's to say, not its callers'."""


class Submission(BaseModel):
    """A job to run.

    Attributes:
        id: Chosen by the client: the same submission again is the same job.
        target: Of `train` and `segment` a recipe's name; of `evaluate` and `maps` a run's name or NAME@ALIAS.
        config: A config's YAML text in place of the recipe.
        overrides: `a.b=value`.
        address: A Ray cluster to run on.
        priority: Higher starts first.
        max_duration: Seconds after which a running job is cancelled.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    kind: Kind
    target: str = Field(default="", max_length=200)
    config: str | None = Field(default=None, max_length=200_000)
    overrides: list[str] = Field(default=[], max_length=500)
    address: str | None = Field(default=None, max_length=300)
    priority: int = Field(default=0, ge=-1000, le=1000)
    max_duration: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        trains = self.kind in ("train", "segment")
        if self.config is not None and not trains:
            raise ValueError(f"kind={self.kind} takes a target and overrides, no config")
        if self.config is None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._@-]*(/\d+)?", self.target):
            wanted = "a recipe's name" if trains else "a run's name, NAME@ALIAS or NAME/VERSION"
            raise ValueError(f"target={self.target!r} is not {wanted}; paths are not taken")
        return self

    @property
    def request(self) -> str:
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


def plan_of(submission: Submission, root: str) -> dict[str, Any]:
    """Check a submission as the job itself would, and say what it will take.

    Raises:
        ConfigError: With all faults of the config, or it asks to write elsewhere than under the root.
    """
    faults = [
        Fault(override, "says where a job writes, which is the service's to say", "leave it out")
        for override in submission.overrides
        if override.partition("=")[0].strip() in WRITTEN
    ]
    if submission.address not in (None, "auto", os.environ.get("RAY_ADDRESS")):
        faults.append(Fault("address", "is not the service's own cluster", "`auto`, or RAY_ADDRESS of the service"))
    if faults:
        raise ConfigError(faults)
    plan: dict[str, Any] = {"kind": submission.kind, "target": submission.target, "root": root}
    if submission.kind not in ("train", "segment"):
        if any(override.startswith("tracking.uri") for override in submission.overrides):
            raise ConfigError([Fault("tracking.uri", "is the service's to say", "leave it out")])
        return plan
    config = load(submission, root)
    if config.tracking.uri not in (None, os.environ.get("MLFLOW_TRACKING_URI")):
        # Whoever is tracked at is sent the service's credentials.
        raise ConfigError(
            [Fault("tracking.uri", "is not the service's own", "MLFLOW_TRACKING_URI of the service, or none")]
        )
    store = getattr(getattr(config, "store", None), "location", None)
    if store is not None and (".." in store or not store.startswith(f"{root}/")):
        raise ConfigError([Fault("store.location", f"{store} is outside the service's root", "leave it out")])
    return plan | {
        "title": config.title,
        "epochs": config.training.epochs,
        "steps": config.training.steps,
        "batch_size": config.training.batch_size,
        "workers": config.cluster.workers,
        "device": config.cluster.device,
        "data": f"{config.data.variant} {config.data.split}",
    }


def load(submission: Submission, root: str) -> Any:
    """The config of a job that trains, with the service's root and tracking."""
    from attn.config.kinds import read_config
    from attn.config.recipes import find_recipe

    if submission.config is None:
        recipe = find_recipe(submission.target)
        text, name = recipe.text, f"{recipe.name}.yaml"
    else:
        text, name = submission.config, "config"
    config = read_config(text, name, [*submission.overrides, f"root={root}"])
    if config.kind != submission.kind:
        raise ConfigError([Fault(name, f"is of kind {config.kind}, not {submission.kind}", f"submit {config.kind}")])
    return config
