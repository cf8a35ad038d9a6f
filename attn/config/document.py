"""YAML documents that know the line of every value, and the merging of recipe, file and overrides.

Duplicate keys are faults. `attn.parsing` has the limits on YAML texts.
"""

from __future__ import annotations

__all__ = [
    "BASE",
    "DATA",
    "OVERRIDE",
    "RECIPE_PREFIX",
    "SOURCE",
    "SOURCE_INDEPENDENT",
    "Document",
    "PlacedOverride",
    "dump_values",
    "fields_in",
    "layered",
    "override_location",
    "text_name",
    "parse_override",
    "read_document",
    "override_of",
    "sources_in",
]

import copy
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import yaml

from attn.config.exclusive import CROSS_ENTROPY, EXCLUSIVE, HEAD_RATES, SOURCE, STEEPEST, is_exclusive
from attn.errors import ConfigError, Fault
from attn.parsing import RESOLVERS, ParseError, compose_yaml, require_tag, scalar_of, text_of_node
from attn.redaction import without_secrets

Path = tuple[str, ...]

DATA = "data"
SOURCE_INDEPENDENT = frozenset({"on_error", "single_label", EXCLUSIVE, "max_pixels"})
"""Fields with the same meaning for every source."""
OVERRIDE = "override"
RECIPE_PREFIX, BASE = "recipe ", "base"
"""The names in messages of a recipe's text, before its own name, and of the run that a sweep searches."""
CONTAINERS = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")
MAX_KEYS = 16
"""Maximum keys in the path of an override."""
SHOWN, SEARCHED = 200, 4000
"""Characters of an override that messages show, and that are searched for secrets before."""


class _Dumper(yaml.SafeDumper):
    """Quotes every string that YAML 1.1 or 1.2 would read as another type."""


_Dumper.yaml_implicit_resolvers = {
    first: [
        *yaml.SafeDumper.yaml_implicit_resolvers.get(first, ()),
        *RESOLVERS.get(first, ()),
    ]
    for first in {*yaml.SafeDumper.yaml_implicit_resolvers, *RESOLVERS}
}


@dataclass
class Document:
    """A tree of plain values, with the location of each value.

    Attributes:
        values: Nested dicts of YAML scalars and lists.
        locations: "file:line" by path of keys; list positions count as keys.
        faults: Faults found while reading.
        name: Name of its text in messages.
        included: Names of other texts that stand in it.
        former_rates: Places of learning rates that a recipe sets for a source that was replaced, by path.
        unread: Paths whose file of data could not be read, which `faults` says. What it sets is unknown.
    """

    values: dict[str, Any] = field(default_factory=dict)
    locations: dict[Path, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    name: str = ""
    included: list[str] = field(default_factory=list)
    former_rates: dict[Path, str] = field(default_factory=dict)
    unread: set[Path] = field(default_factory=set[Path])

    def location(self, path: Path) -> str:
        """The location of a value; for a missing value, that of the nearest enclosing mapping."""
        for end in range(len(path), -1, -1):
            if path[:end] in self.locations:
                return self.locations[path[:end]]
        return "config"

    def set(self, path: Path, value: Any, location: str) -> None:
        """Set a value, creating the mappings on its path."""
        node = self.values
        for depth, key in enumerate(path[:-1], start=1):
            if not isinstance(node.get(key), dict):
                node[key] = {}
                self.locations[path[:depth]] = location
            node = node[key]
        for old in _paths(node.get(path[-1]), path):
            self.locations.pop(old, None)
        node[path[-1]] = value
        self.locations[path] = location

    def drop(self, path: Path) -> None:
        """Remove a value."""
        node = self.values
        for key in path[:-1]:
            node = node[key]
        for old in _paths(node.pop(path[-1]), path):
            self.locations.pop(old, None)

    def change_source(self, path: Path, source: Any) -> None:
        """Remove the fields that belong to the former source, if a `source` is about to change.

        If a `data.source` changes, `validation.split` beside it is removed too: it names a split of the same data.

        Args:
            path: Path of the `source` field.
            source: The new source.
        """
        values = self._at(path[:-1])
        former = values.get(SOURCE) if isinstance(values, dict) else None
        if not isinstance(former, str) or not isinstance(source, str) or former == source:
            return
        was = is_exclusive(values)
        for key in [key for key in values if key != SOURCE and key not in SOURCE_INDEPENDENT]:
            self.drop((*path[:-1], key))
        beside: Any = self.values
        for key in path[:-2]:
            beside = beside[key]
        validation = beside.get("validation")
        if path[-2:] != (DATA, SOURCE):
            return
        if isinstance(validation, dict) and "split" in validation:
            self.drop((*path[:-2], "validation", "split"))
        self._note_head_rates(path[:-2], was, is_exclusive({**values, SOURCE: source}))

    def change_exclusive(self, path: Path, exclusive: Any, source: Any = None) -> None:
        """Keep the head's learning rates in mind, if a `data.exclusive` is about to change.

        Args:
            path: Path of the field.
            exclusive: Its new value; None: as the source has it.
            source: The `source` that is about to be set beside it.
        """
        values = self._at(path[:-1])
        if path[-2:] == (DATA, EXCLUSIVE) and isinstance(values, dict) and isinstance(exclusive, bool | None):
            changed = {**values, EXCLUSIVE: exclusive, SOURCE: source or values.get(SOURCE)}
            self._note_head_rates(path[:-2], is_exclusive(values), is_exclusive(changed))

    def _note_head_rates(self, section: Path, was: bool, exclusive: bool) -> None:
        """Keep in mind a recipe's rates of the head for several labels, if the new data has one label an image.

        Args:
            section: Path of the training.
            was, exclusive: Whether the former and the new data have one label an image.
        """
        multipliers = (*section, "optimizer", "multipliers")
        if not exclusive:
            self.former_rates = {path: place for path, place in self.former_rates.items() if path[:-1] != multipliers}
            return
        weight = self._at((*multipliers, HEAD_RATES[0]))
        if was or not isinstance(weight, int | float) or weight <= STEEPEST:
            return
        for rate in ((*multipliers, name) for name in HEAD_RATES):
            place = self.locations.get(rate, "")
            if text_name(place) == BASE or place.startswith(RECIPE_PREFIX):
                self.former_rates[rate] = place

    def drop_former_rates(self) -> dict[Path, Any]:
        """Remove learning rates of the head that are for several labels, if training is by cross-entropy now.

        Rates that a file of the user's own or an override sets stay.

        Returns:
            The rates that were removed, by path.
        """
        dropped: dict[Path, Any] = {}
        for rate, place in self.former_rates.items():
            method = self._at((*rate[:-3], "method", "name"))
            if self.locations.get(rate) == place and isinstance(method, str) and method in CROSS_ENTROPY:
                dropped[rate] = self._at(rate)
                self.drop(rate)
        self.former_rates = {}
        return dropped

    def _at(self, path: Path) -> Any:
        value: Any = self.values
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        return value

    def section(self, name: str) -> Document:
        """A section as a document of its own; empty if there is no such section."""
        values = self.values.get(name)
        if not isinstance(values, dict):
            return Document()
        return Document(
            values, {path[1:]: location for path, location in self.locations.items() if path[:1] == (name,)}
        )

    def attach(self, name: str, section: Document) -> None:
        """Replace a section by a document."""
        self.values[name] = section.values
        self.locations = {path: location for path, location in self.locations.items() if path[:1] != (name,)}
        self.locations |= {(name, *path): location for path, location in section.locations.items()}
        self.faults += section.faults
        self.unread |= {(name, *path) for path in section.unread}
        self.former_rates = {path: place for path, place in self.former_rates.items() if path[:1] != (name,)}
        self.former_rates |= {(name, *path): place for path, place in section.former_rates.items()}


class PlacedOverride(str):
    """An override `a.b=value` that stands in a file: messages name its place there.

    Attributes:
        fault: Why the file that the override names cannot be used, in place of its fields.
    """

    location: str
    fault: Fault | None

    @classmethod
    def at(cls, location: str, text: str, fault: Fault | None = None) -> Self:
        placed = cls(text)
        placed.location, placed.fault = location, fault
        return placed


def layered(*documents: Document) -> Document:
    """Merge documents: mappings are merged recursively, and other values of later documents win.

    If a later document changes a `source`, the fields of the former source are removed.
    """
    joined = Document()
    for document in documents:
        joined.faults += document.faults
        joined.unread |= document.unread
        joined.former_rates |= document.former_rates
        if () in document.locations:
            joined.locations[()] = document.locations[()]
        sources = dict(sources_in(document.values))
        for path, source in sources.items():
            joined.change_source(path, source)
        for path, exclusive in fields_in(document.values, EXCLUSIVE):
            joined.change_exclusive(path, exclusive, sources.get((*path[:-1], SOURCE)))
        _merge(joined, document, document.values, ())
    return joined


def sources_in(values: dict[str, Any], path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Path and value of every `source` field below a path."""
    return fields_in(values, SOURCE, path)


def fields_in(values: dict[str, Any], name: str, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Path and value of every field of a name below a path."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from fields_in(value, name, (*path, key))
        elif key == name:
            yield (*path, key), value


def _merge(joined: Document, document: Document, values: dict[str, Any], path: Path) -> None:
    for key, value in values.items():
        here = (*path, key)
        node: Any = joined.values
        for step in here:
            node = node.get(step) if isinstance(node, dict) else None
        if isinstance(value, dict) and isinstance(node, dict):
            joined.locations[here] = document.location(here)
            _merge(joined, document, value, here)
            continue
        joined.set(here, copy.deepcopy(value), document.location(here))
        joined.locations |= {
            known: document.locations[known] for known in _paths(value, here) if known in document.locations
        }


def _paths(value: Any, path: Path) -> Iterator[Path]:
    """Paths of a value and of all values inside it; list positions count as keys."""
    yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from _paths(inner, (*path, str(key)))


def _construct(node: yaml.Node, path: Path, name: str, document: Document) -> Any:
    location = f"{name}:{node.start_mark.line + 1}"
    document.locations.setdefault(path, location)
    if isinstance(node, yaml.ScalarNode):
        return scalar_of(node)
    require_tag(node, *CONTAINERS)
    if isinstance(node, yaml.MappingNode):
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            here = f"{name}:{key_node.start_mark.line + 1}"
            if not isinstance(key_node, yaml.ScalarNode):
                raise ParseError("a key must be a name, not a list or a mapping", key_node.start_mark.line + 1)
            key = text_of_node(key_node)
            if key in result:
                document.faults.append(Fault(here, f"{'.'.join((*path, key))} is given twice", "keep one of the two"))
            document.locations[(*path, key)] = here
            result[key] = _construct(value_node, (*path, key), name, document)
        return result
    return [_construct(item, (*path, str(i)), name, document) for i, item in enumerate(node.value)]


def dump_values(values: dict[str, Any]) -> str:
    """Plain values as YAML that `read_document` reads back to equal values."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def read_document(text: str, name: str) -> Document:
    """Parse a YAML mapping.

    Args:
        name: Name of the file in messages.

    Raises:
        ConfigError: The text is not YAML, or not a mapping.
    """
    document = Document(name=name)
    try:
        node = compose_yaml(text)
        if node is None:
            document.locations[()] = f"{name}:1"
            return document
        if not isinstance(node, yaml.MappingNode):
            raise ParseError("expected a mapping of `key: value` lines", node.start_mark.line + 1)
        document.values = _construct(node, (), name, document)
    except ParseError as error:
        raise ConfigError([Fault(f"{name}:{error.line}" if error.line else name, error.problem)]) from None
    return document


def parse_override(text: str) -> tuple[Path, Any] | Fault:
    """Split `a.b=value`. The value is parsed as YAML: `1e-3` is a number, and `true`, `null` and `[1, 2]` work too."""
    if isinstance(text, PlacedOverride) and text.fault is not None:
        return text.fault
    key, sign, value = text.partition("=")
    path = tuple(key.strip().split("."))
    if not sign or not all(path) or len(path) > MAX_KEYS:
        return Fault(override_location(text), "not of the form a.b=value")
    document = Document()
    try:
        node = compose_yaml(value)
        result = None if node is None else _construct(node, path, override_location(text), document)
    except ParseError as error:
        return Fault(override_location(text), f"the value {error.problem}")
    return document.faults[0] if document.faults else (path, result)


def override_of(name: str, value: Any) -> str:
    """An override that sets a field to a plain value. Texts are quoted where YAML would read something else."""
    plain = f"{name}={value}"
    if isinstance(value, str) and parse_override(plain) == (tuple(name.split(".")), value):
        return plain
    return f"{name}={_flow(value)}"


def _flow(value: Any) -> str:
    """A plain value as YAML in one line; JSON is not YAML for some characters."""
    if isinstance(value, str):
        return yaml.dump(value, Dumper=_Dumper, default_style='"', width=math.inf).strip()
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_flow(key)}: {_flow(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return json.dumps(value)


def override_location(text: str) -> str:
    """The location of an override in messages, without secrets."""
    if isinstance(text, PlacedOverride):
        return text.location
    return f"{OVERRIDE} {without_secrets(text[:SEARCHED])[:SHOWN]!r}"


def text_name(location: str) -> str:
    """The name of the text that a location is in; empty for an override."""
    return "" if location.startswith(OVERRIDE) else location.rpartition(":")[0]
