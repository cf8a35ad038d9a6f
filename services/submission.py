"""What may be submitted: a known kind of job with a recipe or target, checked as a whole before it is taken in."""

from __future__ import annotations

__all__ = ["JOB_ID", "KINDS", "Submission", "check", "load", "plan_of"]

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from attn.errors import ConfigError, DataError, Fault

if TYPE_CHECKING:
    from attn.config.base import Config

Kind = Literal["train", "segment", "pipeline", "sweep", "evaluate", "maps"]
KINDS: tuple[Kind, ...] = get_args(Kind)
JOB_ID = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
CONFIGURED = ("train", "segment", "pipeline", "sweep")
"""Kinds that are a recipe or a config of their own; the others take a model and its config."""


class Submission(BaseModel):
    """A job to run.

    Attributes:
        id: Chosen by the client: the same submission again is the same job.
        target: Of `evaluate` and `maps` a run's name or NAME@ALIAS, of the others a recipe's name.
        config: A config's YAML text in place of the recipe.
        overrides: `a.b=value`.
        address: A Ray cluster to run on.
        priority: Higher starts first.
        max_duration: Seconds after which a running job is cancelled.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={"examples": [{"id": "gain-1", "kind": "evaluate", "target": "gain@champion"}]},
    )

    id: str = Field(pattern=JOB_ID)
    kind: Kind
    target: str = Field(default="", max_length=200)
    config: str | None = Field(default=None, max_length=200_000)
    overrides: list[str] = Field(default=[], max_length=500)
    address: str | None = Field(default=None, max_length=300)
    priority: int = Field(default=0, ge=-1000, le=1000)
    max_duration: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        configured = self.kind in CONFIGURED
        if self.config is not None and not configured:
            raise ValueError(f"kind={self.kind} takes a target and overrides, no config")
        if self.config is None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._@-]*(/\d+)?", self.target):
            wanted = "a recipe's name" if configured else "a run's name, NAME@ALIAS or NAME/VERSION"
            raise ValueError(f"target={self.target!r} is not {wanted}; paths are not taken")
        return self

    @property
    def request(self) -> str:
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


def check(submission: Submission, root: str) -> Any:
    """Check a submission as the job itself would; gives what `load` does, None of a kind without a config.

    Raises:
        ConfigError: With all faults of the config, and of all that would have it write elsewhere than under the root.
    """
    from jobs.pipeline import LONGEST_ID as PIPELINE_ID
    from services.places import refused_overrides, written_faults

    refused, loaded = refused_overrides(submission.kind, submission.overrides), None
    faults = list(refused.values())
    if submission.address not in (None, "auto", os.environ.get("RAY_ADDRESS")):
        faults.append(Fault("address", "is not the service's own cluster", "`auto`, or RAY_ADDRESS of the service"))
    if submission.kind not in CONFIGURED:
        if any(override.startswith("tracking.uri") for override in submission.overrides):
            faults.append(Fault("tracking.uri", "is the service's to say", "leave it out"))
    else:
        rest = [override for override in submission.overrides if override not in refused]
        try:
            loaded = load(submission.model_copy(update={"overrides": rest}), root)
        except ConfigError as error:
            faults += error.faults
        else:
            for config in _configs(loaded, root):
                faults += written_faults(config, root)
    if submission.kind == "pipeline" and len(submission.id) > PIPELINE_ID:
        faults.append(Fault("id", "is too long for a pipeline, whose stages add to it", f"{PIPELINE_ID} at most"))
    if faults:
        raise ConfigError(faults)
    return loaded


def plan_of(submission: Submission, root: str) -> dict[str, Any]:
    """What a submission will take; of a sweep its data are looked at.

    Raises:
        ConfigError: As `check`.
    """
    loaded = check(submission, root)
    plan = {"kind": submission.kind, "target": submission.target, "root": root}
    return plan if loaded is None else plan | _what(loaded)


def load(submission: Submission, root: str) -> Any:
    """The config of a job that has one, with the service's root and tracking; of a sweep with its base's text.

    Raises:
        ConfigError: With all faults. Recipes are taken by their names: no other file of this machine is read.
    """
    from attn.config.document import read_document
    from attn.config.kinds import read_config, require_kind
    from attn.config.pipeline import read_pipeline
    from attn.config.recipes import recipe_text
    from attn.sweep.load import read_sweep

    text, name = (submission.config, "config") if submission.config is not None else recipe_text(submission.target)
    require_kind(read_document(text, name), [submission.kind], f"submit {{kind}} {submission.target}".rstrip())
    overrides = [*submission.overrides, f"root={root}"]
    match submission.kind:
        case "pipeline":
            return read_pipeline(text, name, overrides, find=recipe_text)
        case "sweep":
            return read_sweep(text, name, overrides, find=recipe_text)
        case _:
            return read_config(text, name, overrides)


def _configs(loaded: Any, root: str) -> Iterator[Config]:
    """The configs by which something is written; a sweep's trials lie where the sweep does."""
    if not isinstance(loaded, tuple):
        yield loaded
        return
    from attn.sweep.load import trial_config

    yield loaded[0]
    yield trial_config(loaded[1], {}, f"root={root}")


def _what(loaded: Any) -> dict[str, Any]:
    """What a job will do, in plain values."""
    from attn.config.pipeline import STAGES, PipelineConfig

    if isinstance(loaded, tuple):
        from attn.sweep.load import trial_config
        from jobs.estimate import sweep_estimate
        from jobs.sweep_plan import make_plan

        config, base = loaded
        objective = f"{config.objective.mode} {config.objective.metric}"
        plan = {"title": trial_config(base, {}).title, "trials": config.trials, "search": config.search.variant}
        plan |= {"scheduler": config.scheduler.variant, "objective": objective}
        with contextlib.suppress(DataError):  # the data need not be where the service is
            made = make_plan(config, base)
            plan |= made.data() | {"time": sweep_estimate(config, base, made)}
        return plan
    if isinstance(loaded, PipelineConfig):
        stages = {name: getattr(loaded, name) for name in STAGES if getattr(loaded, name, None) is not None}
        return {"title": loaded.title, "stages": {name: _training(config) for name, config in stages.items()}}
    from jobs.estimate import run_estimate

    return {"title": loaded.title, **_training(loaded), "time": run_estimate(loaded)}


def _training(config: Any) -> dict[str, Any]:
    from attn.config.run import RunConfig

    data = {"data": f"{config.data.variant} {config.data.split}"}
    if not isinstance(config, RunConfig):
        return data
    return {
        "epochs": config.training.epochs,
        "steps": config.training.steps,
        "batch_size": config.training.batch_size,
        "workers": config.cluster.workers,
        "device": config.cluster.device,
        **data,
    }
