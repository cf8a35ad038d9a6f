"""The figures of a run's epochs: one line of JSON each in `metrics.jsonl`."""

from __future__ import annotations

__all__ = ["EPOCHS_FILE", "read_epochs", "write_epochs"]

import json
from collections.abc import Iterable
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from attn.errors import RunError
from attn.parsing import load_json
from attn.score_names import current_names
from jobs.runs.run_folder import RunFolder

EPOCHS_FILE = "metrics.jsonl"

EpochLine = dict[str, int | float]
_LINE: TypeAdapter[EpochLine] = TypeAdapter(EpochLine)
_EPOCH: TypeAdapter[int] = TypeAdapter(Annotated[int, Field(strict=True, ge=1)])


def read_epochs(folder: RunFolder) -> list[EpochLine]:
    """One mapping for each epoch, `epoch` counted from 1; empty before the end of the first.

    Raises:
        RunError: A line is not valid; names it.
    """
    if not folder.exists(EPOCHS_FILE):
        return []
    lines: list[EpochLine] = []
    for number, line in enumerate(folder.read_text(EPOCHS_FILE).splitlines(), start=1):
        try:
            lines.append(current_names(_LINE.validate_python(load_json(line), strict=True)))
            _EPOCH.validate_python(lines[-1].get("epoch"))
        except (ValidationError, ValueError) as error:
            reason = "no figures of an epoch" if isinstance(error, ValidationError) else f"no JSON ({error})"
            raise RunError(
                f"{folder.path(EPOCHS_FILE)} is damaged: line {number} is {reason}; remove that line"
            ) from None
    return lines


def write_epochs(folder: RunFolder, lines: Iterable[EpochLine]) -> None:
    """Write all lines anew."""
    folder.write(EPOCHS_FILE, "".join(json.dumps(line) + "\n" for line in lines))
