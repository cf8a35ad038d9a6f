"""The record of a stage that is done, in its folder."""

from __future__ import annotations

__all__ = ["StageRecord"]

import json
from dataclasses import asdict, dataclass
from typing import Annotated, Any

from pydantic import Strict, TypeAdapter

from attn.parsing import load_json
from jobs.runs.run_folder import RunFolder

RECORD = "stage.json"


@dataclass(frozen=True)
class StageRecord:
    """A stage that is done, with its inputs and outputs as plain values."""

    inputs: dict[str, Any]
    outputs: dict[str, Any]
    seconds: Annotated[float, Strict()]

    @classmethod
    def read(cls, folder: RunFolder) -> StageRecord | None:
        """The record in a stage's folder; None where the stage has not ended, or its record is damaged."""
        if not folder.exists(RECORD):
            return None
        try:
            return _RECORD.validate_python(load_json(folder.read(RECORD)))
        except ValueError:
            return None

    def write(self, folder: RunFolder) -> None:
        folder.write(RECORD, json.dumps(asdict(self), indent=1))


_RECORD = TypeAdapter(StageRecord)
