"""What a run's `run.json` says, checked before anything uses it: a crash or another program may have left anything."""

from __future__ import annotations

__all__ = ["BROKEN", "LARGEST_STATE", "parse_run_state"]

import json
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from attn.parsing import load_json

BROKEN = "broken"
"""The state that lists show of a run that cannot be read."""
LARGEST_STATE = 16 << 20
SHOWN_FAULTS = 5

Word = Annotated[str, Field(pattern=r"^[a-z][a-z_-]{0,39}$")]
Moment = Annotated[float, Field(ge=0, lt=253_402_300_800)]  # until the year 9999, the last that dates have
Count = Annotated[int, Field(ge=0)]


class _Stage(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)

    run_id: str
    state: Word
    reused: bool = False


class _RunState(BaseModel):
    """Fields that others read. Those of one kind of run, which only this kind reads, pass as they are."""

    model_config = ConfigDict(extra="allow", strict=True)

    id: str
    kind: Word | None = None
    state: Word | None = None
    started: Moment | None = None
    resumed: Moment | None = None
    ended: Moment | None = None
    seconds: float | None = None
    epoch: Count | None = None
    step: Count | None = None
    number: Count | None = None
    attempts: Count | dict[str, Count] | None = None  # of a run, or of each stage of a pipeline
    metrics: dict[str, float | None] | None = None
    values: dict[str, Any] | None = None
    stages: dict[str, _Stage] | None = None
    model: str | None = None
    tracking_run: str | None = None
    host: str | None = None
    store: str | None = None
    store_version: Count | None = None
    error: str | None = None


def parse_run_state(data: bytes) -> dict[str, Any]:
    """The fields of a `run.json`.

    Raises:
        ValueError: It is no JSON, or a field is not what it has to be; says which. The file's content is not quoted.
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
    try:
        _RunState.model_validate(values)
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors(include_input=False)]
        rest = f"; and {len(faults) - SHOWN_FAULTS} more" if len(faults) > SHOWN_FAULTS else ""
        raise ValueError("; ".join(faults[:SHOWN_FAULTS]) + rest) from None
    return values


def _kind(value: Any) -> str:
    names = {list: "an array", str: "a string", bool: "a truth value", int: "a number", float: "a number"}
    return names.get(type(value), "null")
