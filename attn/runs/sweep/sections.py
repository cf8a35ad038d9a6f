"""The sections `set`, `space` and `data` of a sweep's texts, nested or by dotted names, brought into one form."""

from __future__ import annotations

__all__ = [
    "SET",
    "SPACE",
    "flatten",
    "hand_on_data",
    "over_one_another",
    "split_names",
    "valid_dimensions",
    "valid_objective",
]

import contextlib
from collections.abc import Sequence
from typing import Any

from attn.config.document import DATA, Document, layered
from attn.config.resolve import parse_config
from attn.errors import ConfigError
from attn.runs.sweep.config import Objective
from attn.runs.sweep.space import Dimension

SET, SPACE = "set", "space"


def over_one_another(documents: Sequence[Document]) -> Document:
    """A sweep's texts as one; a text that gives a space searches nothing of the space below it."""
    whole = documents[0]
    for document in documents[1:]:
        if SPACE in document.values and SPACE in whole.values:
            whole.drop((SPACE,))
        whole = layered(whole, document)
    return whole


def hand_on_data(document: Document) -> None:
    """Put a sweep's `data` into `set`, under what `set` says of data."""
    if not isinstance(document.values.get(DATA), dict) or not isinstance(document.values.get(SET, {}), dict):
        return
    data, given = document.section(DATA), document.section(SET)
    document.drop((DATA,))
    handed = Document()
    handed.attach(DATA, data)
    document.attach(SET, layered(handed, given))


def split_names(document: Document, section: str) -> None:
    """Make `{"a.b": value}` below a section `{a: {b: value}}`, so that texts can lie over one another."""
    given = document.section(section)
    if not given.values:
        return
    split = Document(locations={(): given.location(())})

    def walk(node: dict[str, Any], path: tuple[str, ...]) -> None:
        for key, value in node.items():
            here = (*path, key)
            if isinstance(value, dict) and value:
                walk(value, here)
            else:
                split.set(tuple(".".join(here).strip().split(".")), value, given.location(here))

    walk(given.values, ())
    document.attach(section, split)


def flatten(document: Document, section: str, is_leaf: Any) -> None:
    """Make `{a: {b: value}}` below a section `{"a.b": value}`, as overrides and nested files write it."""
    values = document.values.get(section)
    if not isinstance(values, dict):
        return
    flat: dict[str, Any] = {}

    def put(path: tuple[str, ...], value: Any) -> None:
        name, location = ".".join(path).strip(), document.location((section, *path))  # as an override's name is read
        flat[name] = value
        document.locations[(section, name)] = location

    def walk(node: dict[str, Any], path: tuple[str, ...]) -> None:
        for key, value in node.items():
            here = (*path, key)
            if is_leaf(value):
                put(here, value)
            else:
                walk(value, here)

    walk(values, ())
    document.values[section] = flat


def valid_dimensions(document: Document) -> dict[str, Dimension]:
    """The searched fields of a sweep that has faults: those of them that have none."""
    space, dimensions = document.values.get(SPACE), dict[str, Dimension]()
    for key, values in space.items() if isinstance(space, dict) else ():
        with contextlib.suppress(ConfigError):
            dimensions[key] = parse_config(Dimension, Document(values if isinstance(values, dict) else {}))
    return dimensions


def valid_objective(document: Document) -> Objective | None:
    """The objective of a sweep that has faults; None if some are its own."""
    section = document.values.get("objective")
    with contextlib.suppress(ConfigError):
        return parse_config(Objective, Document(section if isinstance(section, dict) else {}))
    return None
