"""What docstrings say of the fields of configs."""

from __future__ import annotations

__all__ = ["attributes_in", "configs_in", "descriptions", "is_fixed", "summary"]

import re
from collections.abc import Iterator
from inspect import cleandoc
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from attn.config.base import Config

HEAD = "Attributes:"
ENTRY = re.compile(r" {4}(\w+(?:, \w+)*): ?(.*)")


def descriptions(config: type[Config]) -> dict[str, str]:
    """What docstrings say of each field that can be chosen; of a section, what its class is."""
    results: dict[str, str] = {}
    said: dict[str, str] = {}
    for owner in reversed(config.__mro__):
        if issubclass(owner, Config) and (text := owner.__dict__.get("__doc__")):
            said |= attributes_in(text)
    for name, info in config.model_fields.items():
        if not is_fixed(info):
            inner = next(configs_in(info.annotation), None)
            results[name] = said.get(name, "") or (summary(inner) if inner else "")
    return results


def attributes_in(docstring: str) -> dict[str, str]:
    """The texts under `Attributes:` of a docstring in Google's style, by name; several names may share one text."""
    lines = cleandoc(docstring).splitlines()
    if HEAD not in lines:
        return {}
    texts: dict[str, list[str]] = {}
    names: tuple[str, ...] = ()
    for line in lines[lines.index(HEAD) + 1 :]:
        if line and not line.startswith(" "):
            break  # the next section
        if entry := ENTRY.fullmatch(line):
            names = tuple(entry[1].split(", "))
            texts |= {name: [entry[2]] for name in names}
        elif names and line.strip():
            for name in names:
                texts[name].append(line.strip())
    return {name: " ".join(" ".join(parts).split()) for name, parts in texts.items()}


def configs_in(annotation: Any) -> Iterator[type[Config]]:
    """The config classes in a type."""
    if isinstance(annotation, type) and issubclass(annotation, Config):
        yield annotation
    for part in get_args(annotation):
        yield from configs_in(part)


def summary(config: type[Config]) -> str:
    """The first sentence or sentences of a class's docstring."""
    text = cleandoc(config.__doc__ or "").partition("\n\n")[0]
    return " ".join(text.split())


def is_fixed(info: FieldInfo) -> bool:
    """Whether a field has one value only: what kind of run or which variant this is."""
    return get_origin(info.annotation) is Literal and len(get_args(info.annotation)) == 1
