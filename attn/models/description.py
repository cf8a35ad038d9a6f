"""Reads a trained model's description, `model.json`, and checks the model's files against it."""

from __future__ import annotations

__all__ = [
    "CONFIG",
    "DESCRIPTION",
    "FORMAT",
    "MOST_BYTES",
    "WEIGHTS",
    "check_files",
    "describing",
    "read_description",
    "task_of",
    "without_run",
]

import contextlib
from collections import Counter
from collections.abc import Generator
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from attn.config.fault_words import plain_message
from attn.errors import ConfigError, WeightsError
from attn.files.locations import sha256_of
from attn.parsing import load_json
from attn.regular_files import open_regular, read_regular
from attn.wording import shorten

WEIGHTS, DESCRIPTION, CONFIG = "state_dict.pt", "model.json", "config.yaml"
"""Files of a trained model's folder: its tensors, their description, and the resolved config of its run."""
FORMAT = 1
MOST_BYTES = 16 << 20
"""Largest size of a description; the names of 100,000 classes take two or three million bytes."""
MOST_CLASSES = 100_000
SHOWN = 100
OF_RUN = ("run_id", "store", "store_version")
"""Entries of `info` that name the run that has trained a model."""

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Text = Annotated[str, Field(min_length=1, max_length=1000)]


class Described(BaseModel):
    """Fields of every description; further ones depend on the task and are parsed as configs."""

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)

    format: int
    task: Text = "classification"
    classes: Annotated[list[Text], Field(min_length=1, max_length=MOST_CLASSES)]
    model: dict[str, Any]
    input: dict[str, Any]
    layers: list[Text] = []
    layer: Text = "last"
    map_kind: Text = "cam"
    exclusive: bool = False
    info: dict[str, Any] = {}
    sha256: Sha256
    files: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$")], Sha256] | None = None

    @field_validator("classes")
    @classmethod
    def _distinct(cls, classes: list[str]) -> list[str]:
        name, count = Counter(classes).most_common(1)[0]
        if count > 1:
            raise ValueError(f"{name[:SHOWN]!r} appears {count} times")
        return classes

    @field_validator("files")
    @classmethod
    def _whole(cls, files: dict[str, str] | None) -> dict[str, str] | None:
        if files is not None and not {WEIGHTS, CONFIG} <= files.keys():
            raise ValueError(f"{WEIGHTS} and {CONFIG} must be among them")
        return files


def read_description(folder: Path) -> dict[str, Any]:
    """Read `model.json`.

    Raises:
        WeightsError: The file cannot be read or is not a valid description; the message names the field.
    """
    with describing(folder):
        data = read_regular(folder / DESCRIPTION, MOST_BYTES)
        result = load_json(data)
        Described.model_validate_json(data)
    return result


def check_files(folder: Path, described: dict[str, Any]) -> None:
    """Check the hashes of a model's files. Models of earlier versions have a hash of their weights only.

    Raises:
        WeightsError: A file is missing, not a regular file, or has another hash.
    """
    for name, sha256 in {**(described.get("files") or {}), WEIGHTS: described["sha256"]}.items():
        path = folder / name
        try:
            with open_regular(path):
                pass
            same = sha256_of(path) == sha256
        except OSError as error:
            raise WeightsError(
                f"{path}, which {DESCRIPTION} describes, cannot be read: {error.strerror or type(error).__name__}; "
                "copy the folder again"
            ) from None
        if not same:
            raise WeightsError(
                f"{path} is not the file that {DESCRIPTION} describes (SHA-256 differs); copy the folder again"
            )


def task_of(described: dict[str, Any]) -> str:
    """The task of a model: `classification` or `segmentation`."""
    return str(described.get("task", "classification"))


def without_run(described: dict[str, Any]) -> dict[str, Any]:
    """A description without what names the run: equal for two runs that have trained the same model."""
    info = {name: value for name, value in (described.get("info") or {}).items() if name not in OF_RUN}
    return {name: value for name, value in described.items() if name != "files"} | {"info": info}


@contextlib.contextmanager
def describing(folder: Path) -> Generator[None]:
    """Turn any error of parsing a bundle's `model.json` into a WeightsError."""
    try:
        yield
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))[:SHOWN]
        more = f" and {error.error_count() - 1} more faults" if error.error_count() > 1 else ""
        what = f"{where}: {plain_message(first)}{more}" if where else plain_message(first)
        raise WeightsError(f"{folder}/{DESCRIPTION} is not a model description: {what}") from None
    except (ConfigError, OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else shorten(str(error).partition("\n")[0], 300)
        raise WeightsError(f"{folder}/{DESCRIPTION} is not a model description: {what}") from None
