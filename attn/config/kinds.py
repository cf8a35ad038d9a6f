"""The kinds of runs, each with the class of its configuration."""

from __future__ import annotations

__all__ = ["kind_of", "read_config"]

from attn.config.document import Document, read_document
from attn.config.resolve import resolve
from attn.config.run import RunConfig
from attn.config.segment import SegmentConfig
from attn.config.train import TrainConfig
from attn.errors import ConfigError, Fault

KINDS: dict[str, type[RunConfig]] = {"train": TrainConfig, "segment": SegmentConfig}


def kind_of(document: Document) -> type[RunConfig]:
    """The class that a document's `kind` asks for; training where it says nothing.

    Raises:
        ConfigError: There is no such kind.
    """
    kind = document.values.get("kind", "train")
    if kind not in KINDS:
        raise ConfigError([Fault(document.place(("kind",)), f"kind = {kind!r} is not available", f"one of {_kinds()}")])
    return KINDS[kind]


def read_config(text: str, name: str, overrides: list[str] | None = None) -> RunConfig:
    """A run's config of whatever kind.

    Raises:
        ConfigError: With all faults.
    """
    return resolve(kind_of(read_document(text, name)), text, name, overrides or [])


def _kinds() -> str:
    return ", ".join([*KINDS, "pipeline", "sweep"])
