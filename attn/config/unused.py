"""Fields of a config that have no effect because of another field's value."""

from __future__ import annotations

__all__ = ["unused_notices"]

import json
from collections.abc import Collection, Iterator
from typing import Any

from attn.config.base import Config
from attn.wording import escape_controls, shorten

LONGEST = 60
"""Characters of a value in a notice."""
MISSING = object()


def unused_notices(config: Config, prefix: str = "", *, searched: Collection[str] = ()) -> list[str]:
    """A message for the user for each value because of which fields that were set have no effect; see `Config.unused`.

    A field at its default is left out, as a saved config has all fields.

    Args:
        prefix: Of the fields in the messages.
        searched: Full names of fields that a sweep varies. Such a field is named even at its default, and nothing is
            said to be without effect because of it.
    """
    texts = []
    for field, names in _unused(config, prefix, searched):
        if field not in searched:
            value = shorten(escape_controls(_shown(_at(config, field.removeprefix(prefix)))), LONGEST)
            effect = "has no effect" if len(names) == 1 else "have no effect"
            it = "it" if len(names) == 1 else "them"
            texts.append(f"{', '.join(names)} {effect} with {field}={value}: leave {it} out, or change {field}")
    return texts


def _unused(config: Config, prefix: str, searched: Collection[str]) -> Iterator[tuple[str, list[str]]]:
    """Each field because of which others have no effect, with those of them that were set."""
    for field, names in config.unused().items():
        changed = [one for name in names for one in _changed(config, name, prefix, searched)]
        if changed:
            yield f"{prefix}{field}", list(dict.fromkeys(changed))
    for name in type(config).model_fields:
        if isinstance(section := getattr(config, name), Config):
            yield from _unused(section, f"{prefix}{name}.", searched)


def _changed(config: Config, name: str, prefix: str, searched: Collection[str]) -> Iterator[str]:
    """Names of the fields that differ from their defaults, of a field or below it."""
    *sections, last = name.split(".")
    owner = _at(config, ".".join(sections)) if sections else config
    if isinstance(owner, Config):
        info = type(owner).model_fields[last]
        default = MISSING if info.is_required() else info.get_default(call_default_factory=True, validated_data={})
        yield from _differing(f"{prefix}{name}", getattr(owner, last), default, searched)


def _differing(name: str, value: Any, default: Any, searched: Collection[str]) -> Iterator[str]:
    if isinstance(value, Config) and type(value) is type(default):
        for field in type(value).model_fields:
            yield from _differing(f"{name}.{field}", getattr(value, field), getattr(default, field), searched)
    elif value != default or name in searched:
        yield name


def _at(config: Config, path: str) -> Any:
    value: Any = config
    for name in path.split("."):
        value = getattr(value, name)
    return value


def _shown(value: Any) -> str:
    """A value as an override gives it; of a section its variant."""
    if isinstance(value, Config):
        return str(getattr(value, "variant", "..."))
    if isinstance(value, list | tuple):
        return f"[{', '.join(_shown(one) for one in value)}]"
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return f"{value:g}" if isinstance(value, float) else str(value)
