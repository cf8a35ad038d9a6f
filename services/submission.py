"""A submission: a known kind of job with a recipe, a config or a model."""

from __future__ import annotations

__all__ = ["JOB_ID", "JobKind", "Submission"]

import hashlib
import re
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from attn.runs.table import file_kinds, service_kinds
from jobs.runs.run_folder import is_run_id


def _known(kind: object) -> object:
    names = service_kinds()
    if kind not in names:
        expected = f"{', '.join(map(repr, names[:-1]))} or {names[-1]!r}"
        raise PydanticCustomError("literal_error", "Input should be {expected}", {"expected": expected})
    return kind


JobKind = Annotated[str, BeforeValidator(_known), Field(json_schema_extra={"enum": [*service_kinds()]})]
JOB_ID = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"


class Submission(BaseModel):
    """A job to run.

    Attributes:
        id: Chosen by the client. The same submission again is the same job.
        target: For `evaluate` and `maps` a run's name or NAME@ALIAS, for other kinds a recipe's name.
        config: A config as YAML text, instead of a recipe's name in `target`.
        files: Texts of the YAML files that `config` and `overrides` name, by those names: recipes to start from, and
            files of data. The service reads no file of its own machine in their place.
        overrides: Fields to change, as `a.b=value`.
        address: Address of the Ray cluster to run on.
        priority: Jobs of higher priority start first.
        max_duration: Seconds after which a running job is cancelled.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={"examples": [{"id": "gain-1", "kind": "evaluate", "target": "gain@champion"}]},
    )

    id: str = Field(pattern=JOB_ID)
    kind: JobKind
    target: str = Field(default="", max_length=200)
    config: str | None = Field(default=None, max_length=200_000)
    files: dict[Annotated[str, Field(max_length=500)], Annotated[str, Field(max_length=200_000)]] = Field(
        default={}, max_length=32
    )
    overrides: list[Annotated[str, Field(max_length=200_000)]] = Field(default=[], max_length=500)
    address: str | None = Field(default=None, max_length=300)
    priority: int = Field(default=0, ge=-1000, le=1000)
    max_duration: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not is_run_id(self.id):
            raise ValueError(f"id={self.id!r} is reserved for the record of all runs; choose another id")
        configured = self.kind in file_kinds()
        if self.config is not None and not configured:
            raise ValueError(f"kind={self.kind} takes a target and overrides, not a config")
        if self.config is None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._@-]*(/\d+)?", self.target):
            wanted = "a recipe's name" if configured else "a run's name, NAME@ALIAS or NAME/VERSION"
            raise ValueError(f"target={self.target!r} is not {wanted}; paths are not accepted")
        return self

    @property
    def request(self) -> str:
        """A hash of all fields; without files that of earlier versions, which had none."""
        exclude = None if self.files else {"files"}
        return hashlib.sha256(self.model_dump_json(exclude=exclude).encode()).hexdigest()
