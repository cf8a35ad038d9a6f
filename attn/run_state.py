"""What a run's `run.json` says, checked before anything uses it: a crash or another program may have left anything."""

from __future__ import annotations

__all__ = ["BROKEN", "LARGEST_STATE", "RunState", "StageState"]

import json
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError

from attn.parsing import load_json

BROKEN = "broken"
"""The state that lists show of a run that cannot be read."""
LARGEST_STATE = 16 << 20
SHOWN_FAULTS = 5

Word = Annotated[str, Field(pattern=r"^[a-z][a-z_-]{0,39}$")]
Moment = Annotated[float, Field(ge=0, lt=253_402_300_800)]  # until the year 9999, the last that dates have
Count = Annotated[int, Field(ge=0)]


class StageState(BaseModel):
    """A stage of a pipeline, as the pipeline's `run.json` has it.

    Attributes:
        run_id, folder: Of the stage's own run.
        reused: Its result was there already.
        seconds: How long it ran, in this pipeline or the one that it is taken from.
    """

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    run_id: str
    folder: str | None = None
    reused: bool = False
    seconds: float | None = None
    state: Word

    def to_json(self) -> dict[str, Any]:
        """The fields that were given, as plain values."""
        return self.model_dump(mode="json", exclude_unset=True)


class RunState(BaseModel):
    """The fields of a `run.json`, of every kind of run. Those that a run does not have are None.

    Fields that this version does not know, which another version wrote, are kept as they are.

    Attributes:
        started, resumed, ended: Seconds since 1970.
        seconds: How long it ran, pauses not counted.
        pid, process, host: Which process drives it: number, `process_identity`, machine. Not checked here: a damaged
            one stands for no process.
        create_time: When that process began, written as `born` by early versions.
        tracking_run: Id of its MLflow run.
        attempts: How often its workers started; of a pipeline, how often each stage began anew.
        epoch, step: Of the newest checkpoint.
        metrics: Of the newest checkpoint; of other kinds than trainings, the scores.
        model, weights: The trained model, as it was named, and the SHA-256 of its weights.
        maps, version: Of an evaluation, the map store's location and version; of `maps`, how many were written.
        number, values, refused: Of a sweep's trial: its number, its point, and why that cannot be run.
        taken: Of a trial: the checkpoints that population-based training copied from other trials.
        again: Stages of a pipeline that still have to begin anew.
        target: The model or map store that the run works on, as `jobs.scoring.targets.open_target` takes it.
        compared: Of a comparison: the target of each row, by title.
    """

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    id: str
    kind: Word | None = None
    state: Word | None = None
    started: Moment | None = None
    resumed: Moment | None = None
    ended: Moment | None = None
    seconds: float | None = None
    error: str | None = None
    pid: Any = None
    process: Any = None
    host: str | None = None
    create_time: Any = Field(default=None, alias="born")
    tracking_run: str | None = None

    attempts: Count | dict[str, Count] | None = None
    epoch: Count | None = None
    step: Count | None = None
    metrics: dict[str, float | None] | None = None
    notices: list[str] | None = None
    val_average_precision: dict[str, Any] | None = None
    cues: dict[str, Any] | None = None
    model: str | None = None
    weights: str | None = None
    store: str | None = None
    store_version: Count | None = None

    number: Count | None = None
    values: dict[str, Any] | None = None
    refused: str | None = None
    taken: list[dict[str, Any]] | None = None

    again: list[str] | None = None
    stages: dict[str, StageState] | None = None
    scores: dict[str, float | None] | None = None

    target: str | None = None
    maps: str | Count | None = None
    version: Count | None = None
    images: Count | None = None
    predictions: str | None = None
    png: str | None = None
    notes: list[str] | None = None
    voc_submission: bool | None = None
    sweep: bool | None = None
    compared: dict[str, str] | None = None
    overrides: list[str] | None = None
    confusion: bool | None = None
    overlap: dict[str, dict[str, float]] | None = None

    _values: dict[str, Any] = PrivateAttr(default_factory=dict)

    @classmethod
    def of(cls, values: dict[str, Any]) -> Self:
        """The state that these fields of a `run.json` say.

        Raises:
            ValueError: A field is not what it has to be; says which. Its value is not quoted.
        """
        try:
            state = cls.model_validate(values)
        except ValidationError as error:
            raise ValueError(_faults(error)) from None
        state._values = dict(values)
        return state

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """The state in the bytes of a `run.json`.

        Raises:
            ValueError: It is no JSON, or a field is not what it has to be; says which. The file's content is not
                quoted.
        """
        if len(data) > LARGEST_STATE:
            raise ValueError(f"it has {len(data)} bytes, and {LARGEST_STATE} are the most")
        try:
            values = load_json(data)
            if b"\\u" in data:
                json.dumps(values, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError("no valid JSON: it holds half of a surrogate pair, which is no text") from None
        except ValueError as error:
            raise ValueError(f"no valid JSON: {error}") from None
        if not isinstance(values, dict):
            raise ValueError(f"expected a JSON object, found {_kind(values)}")
        return cls.of(values)

    def changed(self, **fields: Any) -> Self:
        """The same state with other values of some fields, which are plain JSON values.

        Raises:
            TypeError: There is no field of such a name: only what this class describes is written.
            ValueError: As `of`.
        """
        if unknown := fields.keys() - _NAMES:
            raise TypeError(f"run.json has no field {', '.join(sorted(unknown))}: add it to attn.run_state.RunState")
        return self.of({**self._values, **fields})

    def to_json(self) -> dict[str, Any]:
        """The fields as plain values, as they were given and in that order."""
        return dict(self._values)


_NAMES = frozenset(field.alias or name for name, field in RunState.model_fields.items())


def _faults(error: ValidationError) -> str:
    faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors(include_input=False)]
    rest = f"; and {len(faults) - SHOWN_FAULTS} more" if len(faults) > SHOWN_FAULTS else ""
    return "; ".join(faults[:SHOWN_FAULTS]) + rest


def _kind(value: Any) -> str:
    names = {list: "an array", str: "a string", bool: "a truth value", int: "a number", float: "a number"}
    return names.get(type(value), "null")
