"""The configs of all commands as a tree: where each class stands, and which fields there are by their dotted names."""

from __future__ import annotations

__all__ = ["Place", "dotted_fields", "places"]

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from attn.config.base import Config, Variant
from attn.config.field_docs import configs_in
from attn.runs.config_classes import COMMAND_CONFIGS, config_class


@dataclass(frozen=True)
class Place:
    """A config class at one place of a command's config.

    Attributes:
        config: The class.
        command: The command whose config has it.
        path: Its place in that config, `training` for instance; empty for the command's own.
        choice: `name=gain` where its family is a choice.
    """

    config: type[Config]
    command: str
    path: str
    choice: str = ""

    def field(self, name: str) -> str:
        """The dotted name of one of its fields."""
        return f"{self.path}.{name}".strip(".")


@cache
def places() -> tuple[Place, ...]:
    """Every config class at each of its places, command by command."""
    return tuple(place for command in COMMAND_CONFIGS for place in _walk(config_class(command), command, ""))


def dotted_fields() -> Iterator[str]:
    """Every field and section of every command's config by its dotted name, as in `a.b=value`."""
    for place in places():
        yield place.path
        yield from map(place.field, place.config.model_fields)


def _walk(config: type[Config], command: str, path: str, seen: tuple[type[Config], ...] = ()) -> Iterator[Place]:
    choice = ""
    if issubclass(config, Variant) and config.tag in config.model_fields:
        choice = f"{config.tag}={config.model_fields[config.tag].default}"
    if issubclass(config, Variant) and config.tag and not choice:
        for _, member in sorted(config.members.items()):
            yield from _walk(member, command, path, (*seen, config))
        return
    yield Place(config, command, path, choice)
    for name, info in config.model_fields.items():
        for inner in configs_in(info.annotation):
            if inner not in seen:
                yield from _walk(inner, command, f"{path}.{name}".strip("."), (*seen, config))
