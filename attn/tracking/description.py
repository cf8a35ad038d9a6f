"""What a run's record says of the run: parameters, description, command, data. Importing it does not import MLflow."""

from __future__ import annotations

__all__ = ["DataUsed", "RunDescription", "flattened", "run_params"]

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, Self

from attn.config.base import Config
from attn.wording import counted

if TYPE_CHECKING:
    from attn.data.source import Source

SECTION = r"((?:train|maps|segment|evaluation)\.)?"
IDENTIFYING = {
    "method": ("method.name",),
    "data": ("data.source", "data.split"),
    "model": ("model.name",),
    "seed": ("seed",),
}
"""The fields that identify a run, in a pipeline also those of its sections, by the names of their parameters. The names
are short, because MLflow's page shows all parameters above every picture."""
NO_PARAMS = re.compile(SECTION + r"(kind|root|tracking\..*)")
"""Fields that are no parameters: where a run is written, not what it does."""


class _DataConfig(Protocol):
    """The fields of `SourceConfig` that name data."""

    @property
    def split(self) -> str: ...

    @property
    def variant(self) -> str: ...


@dataclass(frozen=True)
class DataUsed:
    """Data that a run works on.

    Attributes:
        source: Kind of the source, such as `voc`.
        images: Number of images in the split.
        fingerprint: SHA-256 of the names and labels.
    """

    source: str
    split: str
    images: int
    fingerprint: str

    @classmethod
    def of(cls, config: _DataConfig, source: Source) -> Self:
        return cls(config.variant, config.split, len(source.records), source.fingerprint())

    def __str__(self) -> str:
        return f"{self.source} {self.split}, {counted(self.images, 'image')}, fingerprint {self.fingerprint[:12]}"


@dataclass(frozen=True)
class RunDescription:
    """What a record says of its run.

    Attributes:
        params: Parameters as texts.
        text: The description, Markdown.
        program: The program that began the run, such as `attn train`.
        data: Data that the run works on.
    """

    params: Mapping[str, str]
    text: str = ""
    program: str = ""
    data: tuple[DataUsed, ...] = field(default=())


def run_params(config: Config, baseline: Config | None = None, always: Collection[str] = ()) -> dict[str, str]:
    """The parameters of a run: fields that identify it, and those that differ from a baseline.

    Args:
        baseline: The config of the recipe that the run started from; None: the defaults.
        always: More fields to include, as `a.b`.
    """
    values = flattened(config.model_dump(mode="json"))
    chosen = set(flattened(config.model_dump(mode="json", exclude_defaults=True)))
    before: dict[str, str] = {}
    if baseline is not None:
        before = flattened(baseline.model_dump(mode="json"))
        chosen |= before.keys() & values.keys()
    params: dict[str, str] = {}
    for section in ("", "train.", "maps.", "segment.", "evaluation."):
        for name, fields in IDENTIFYING.items():
            results = [values.pop(section + one) for one in fields if section + one in values]
            params |= {section + name: " ".join(results)} if results else {}
    for name, value in values.items():
        differs = name in chosen and value != before.get(name) and not NO_PARAMS.fullmatch(name)
        if differs or name in always:
            params[name] = value
    return params


def flattened(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Flatten nested plain values to texts by `a.b`; lists and empty mappings become JSON."""
    flat: dict[str, str] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            flat |= flattened(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value if isinstance(value, str) else json.dumps(value)
    return flat
