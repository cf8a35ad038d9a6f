"""A run's `run.json`, validated on reading: a crash or another program may have left it damaged."""

from __future__ import annotations

__all__ = ["BROKEN", "About", "RunState", "StageState", "check_size", "sweep_of_trial"]

import json
import re
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from attn.parsing import load_json
from attn.score_names import current_names

BROKEN = "broken"
"""The state that listings show for a run with an unreadable `run.json`."""
MAX_STATE_BYTES = 16 << 20
SHOWN_FAULTS = 5

Identifier = Annotated[str, Field(pattern=r"^[a-z][a-z_-]{0,39}$")]
Timestamp = Annotated[float, Field(ge=0, lt=253_402_300_800)]  # up to the year 9999, the maximum of datetime
Count = Annotated[int, Field(ge=0)]
READING = "reading"
"""Context of validation, of a file that this process has not written."""


def _none_if_wrong(value: Any, validate: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
    try:
        return validate(value)
    except ValidationError:
        if info.context != READING:
            raise
        return None


ShownOnly = WrapValidator(_none_if_wrong)
"""Of a field that is only shown to people: a wrong value in a file reads as None. Writing one is still an error."""


def check_size(size: int) -> None:
    """Check the size of a `run.json` in bytes.

    Raises:
        ValueError: It is too large to be one.
    """
    if size > MAX_STATE_BYTES:
        raise ValueError(f"it has {size} bytes, and {MAX_STATE_BYTES} are the most")


def sweep_of_trial(run_id: str) -> str | None:
    """The id of the sweep that a trial's id begins with; None for an id that no trial has."""
    match = re.fullmatch(r"(.+)-\d{4,}", run_id)
    return match and match[1]


class StageState(BaseModel):
    """A stage's entry in a pipeline's `run.json`.

    Attributes:
        run_id, folder: The stage's own run.
        reused: The result of an earlier run was used.
        seconds: Duration of the stage, in this pipeline or in the run whose result was used.
    """

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    run_id: str
    folder: str | None = None
    reused: bool = False
    seconds: float | None = None
    state: Identifier

    def to_json(self) -> dict[str, Any]:
        """The fields that are set, as plain values."""
        return self.model_dump(mode="json", exclude_unset=True)


class About(BaseModel):
    """Description of a run in a few words.

    Attributes:
        what: Method, or what the run works on.
        data: Source and split of its data.
        epochs: How many epochs a training has, if its config says so.
        trials: How many trials a sweep has, if its config says so.
        maps: How the maps that it scores, writes or draws differ from plain ones; None for plain maps, and for runs of
            earlier versions.
    """

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    what: str | None = None
    data: str | None = None
    epochs: Count | None = None
    trials: Count | None = None
    maps: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The fields that are known, as plain values."""
        return self.model_dump(mode="json", exclude_none=True)


class RunState(BaseModel):
    """The fields of a `run.json`, for all kinds of runs. Fields that a run does not have are None.

    Unknown fields, written by another version, are kept unchanged. A field that is only shown to people is None if the
    file has a wrong value for it.

    Attributes:
        about: What the run does; None for runs of earlier versions.
        started, resumed, ended: Seconds since 1970.
        seconds: Running time of all attempts that have ended, without the pauses between them.
        error: What ended the run, if it failed.
        cause: `storage` or `lost` if it failed by no fault of its own, so that it may succeed if it goes on:
            `attn.errors.cause_of`.
        pid, process, host: The process that drives the run: its number, its `process_identity`, and its machine. Not
            validated; a damaged value names no process.
        create_time: When that process started; written as `born` by early versions.
        tracking_run: Id of the MLflow run.
        attempts: How often the workers started; for a pipeline, how often each stage was restarted.
        attempt_ends: What ended the attempts of a training that failed, and those of any run that lost its process:
            `attempt`, `at` in seconds since 1970, `epoch` of the newest checkpoint, the `error` in a line, and its
            `cause` as above. `failures` has the tracebacks of workers.
        epoch, step: Position of the newest checkpoint.
        threads: Of each worker of a training, as it was run: its weights depend on them, first in their last bits.
        metrics: Metrics of the newest checkpoint, or of the epoch that the trained model is of; for kinds other than
            trainings, the scores.
        best: With `checkpoint.best`: `metric`, `epoch` from 1 and `value` of the best epoch so far.
        stopped_early: Of a training that `training.early_stopping` ended: its last `epoch` from 1, the `metric`, and
            the `best_epoch` of it.
        model, weights: The trained model's location, and the SHA-256 of its weights.
        registered: The version that the run's model is in the registry: `models:/NAME/VERSION`.
        maps, version: For an evaluation, the map store's location and version; for `maps`, the number of maps written.
        number, values, refused: For a sweep's trial: its number, its point, and why the point cannot run.
        taken: For a trial: the checkpoints that population-based training copied from other trials.
        again: For a pipeline: stages that must be restarted.
        stage_names: For a pipeline: all of its stages in order, also those that it has not begun.
        target: The model or map store that the run works on; see `jobs.scoring.targets.open_target`.
        compared: For a comparison: the target of each row, by title.
        outputs: Results of a kind that has no fields of its own here.
    """

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    id: str
    kind: Identifier | None = None
    state: Identifier | None = None
    about: Annotated[About | None, ShownOnly] = None
    started: Annotated[Timestamp | None, ShownOnly] = None
    resumed: Annotated[Timestamp | None, ShownOnly] = None
    ended: Annotated[Timestamp | None, ShownOnly] = None
    seconds: Annotated[float | None, ShownOnly] = None
    error: Annotated[str | None, ShownOnly] = None
    cause: Annotated[str | None, ShownOnly] = None
    pid: Any = None
    process: Any = None
    host: str | None = None
    create_time: Any = Field(default=None, alias="born")
    tracking_run: str | None = None

    attempts: Count | dict[str, Count] | None = None
    attempt_ends: Annotated[list[dict[str, Any]] | None, ShownOnly] = None
    epoch: Count | None = None
    step: Count | None = None
    threads: Annotated[Count | None, ShownOnly] = None
    metrics: dict[str, float | None] | None = None
    best: Annotated[dict[str, Any] | None, ShownOnly] = None
    stopped_early: Annotated[dict[str, Any] | None, ShownOnly] = None
    notices: Annotated[list[str] | None, ShownOnly] = None
    val_average_precision: Annotated[dict[str, Any] | None, ShownOnly] = None
    cues: Annotated[dict[str, Any] | None, ShownOnly] = None
    model: str | None = None
    weights: str | None = None
    registered: Annotated[str | None, ShownOnly] = None
    store: str | None = None
    store_version: Count | None = None

    number: Count | None = None
    values: dict[str, Any] | None = None
    refused: str | None = None
    taken: list[dict[str, Any]] | None = None

    again: list[str] | None = None
    stage_names: Annotated[list[str] | None, ShownOnly] = None
    stages: dict[str, StageState] | None = None
    scores: dict[str, float | None] | None = None

    target: str | None = None
    maps: str | Count | None = None
    version: Count | None = None
    images: Annotated[Count | None, ShownOnly] = None
    predictions: Annotated[str | None, ShownOnly] = None
    png: Annotated[str | None, ShownOnly] = None
    notes: Annotated[list[str] | None, ShownOnly] = None
    voc_submission: bool | None = None
    sweep: bool | None = None
    compared: dict[str, str] | None = None
    overrides: list[str] | None = None
    confusion: bool | None = None
    overlap: Annotated[dict[str, dict[str, float]] | None, ShownOnly] = None
    outputs: dict[str, Any] | None = None

    _values: dict[str, Any] = PrivateAttr(default_factory=dict)

    @model_validator(mode="wrap")
    @classmethod
    def _keep_values(cls, values: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        state = validate(values)
        wrong = {name for name in SHOWN_ONLY if getattr(state, name) is None}
        state._values = {name: None if name in wrong else value for name, value in dict(values).items()}
        return state

    @classmethod
    def of(cls, values: dict[str, Any], *, context: str | None = None) -> Self:
        """Validate the fields of a `run.json`; names of scores of earlier versions become today's.

        Args:
            context: `READING`: wrong values of fields that are only shown become None.

        Raises:
            ValueError: A field is invalid. The message names it without its value.
        """
        if isinstance(metrics := values.get("metrics"), dict):
            values = values | {"metrics": current_names(metrics)}
        try:
            return cls.model_validate(values, context=context)
        except ValidationError as error:
            raise ValueError(_faults(error)) from None

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Parse and validate the bytes of a `run.json`.

        Raises:
            ValueError: It is not JSON, or a field is invalid. The message does not quote the file.
        """
        check_size(len(data))
        try:
            values = load_json(data)
            if b"\\u" in data:
                json.dumps(values, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError("not valid JSON: it contains half of a surrogate pair") from None
        except ValueError as error:
            raise ValueError(f"not valid JSON: {error}") from None
        if not isinstance(values, dict):
            raise ValueError(f"expected a JSON object, found {_kind(values)}")
        return cls.of(values, context=READING)

    def changed(self, **fields: Any) -> Self:
        """A copy with some fields changed. Values are plain JSON values.

        Raises:
            TypeError: There is no such field; only fields of this class are written.
            ValueError: As `of`.
        """
        if unknown := fields.keys() - _NAMES:
            raise TypeError(f"run.json has no field {', '.join(sorted(unknown))}: write it under 'outputs'")
        return self.of({**self._values, **fields})

    @property
    def current_stage(self) -> StageState | None:
        """The stage that a pipeline has begun and not ended; None between stages, and of other runs."""
        return next((stage for stage in (self.stages or {}).values() if stage.state == "running"), None)

    def to_json(self) -> dict[str, Any]:
        """The fields as plain values, in their original order."""
        return dict(self._values)


SHOWN_ONLY = frozenset(name for name, field in RunState.model_fields.items() if ShownOnly in field.metadata)
_NAMES = frozenset(field.alias or name for name, field in RunState.model_fields.items())


def _faults(error: ValidationError) -> str:
    faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors(include_input=False)]
    rest = f"; and {len(faults) - SHOWN_FAULTS} more" if len(faults) > SHOWN_FAULTS else ""
    return "; ".join(faults[:SHOWN_FAULTS]) + rest


def _kind(value: Any) -> str:
    names = {list: "an array", str: "a string", bool: "a truth value", int: "a number", float: "a number"}
    return names.get(type(value), "null")
