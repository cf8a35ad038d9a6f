"""YAML documents with the line of every value, and the layering of recipe, file and overrides.

Duplicate keys are faults. Which texts are read at all: `attn.parsing`.
"""

from __future__ import annotations

__all__ = [
    "OVERRIDE",
    "SOURCE",
    "Document",
    "as_overrides",
    "dump_values",
    "layered",
    "override_location",
    "parse_override",
    "read_document",
    "sources_in",
]

import copy
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from attn.errors import ConfigError, Fault
from attn.parsing import RESOLVERS, Unreadable, compose_yaml, require_tag, scalar_of, text_of_node
from attn.redaction import without_secrets

Path = tuple[str, ...]

SOURCE = "source"
"""The field that says where data, labels or maps come from: what stands beside it means something else elsewhere."""
OF_ANY_SOURCE = frozenset({"on_error", "single_label", "max_pixels"})
"""How data is read, whichever it is."""

OVERRIDE = "override"
CONTAINERS = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")
MAX_KEYS = 16
"""Of the path of an override."""
SHOWN, READ = 200, 4000
"""Characters of an override in messages, and those that are searched for secrets first."""


class _Dumper(yaml.SafeDumper):
    """Quotes every string that YAML 1.1 or 1.2 would read as something else, so that both read it back."""


_Dumper.yaml_implicit_resolvers = {
    first: [
        *yaml.SafeDumper.yaml_implicit_resolvers.get(first, ()),
        *RESOLVERS.get(first, ()),
    ]
    for first in {*yaml.SafeDumper.yaml_implicit_resolvers, *RESOLVERS}
}


@dataclass
class Document:
    """A tree of plain values with the place of each.

    Attributes:
        values: Nested dicts of YAML scalars and lists.
        places: "file:line" of each path of keys; list positions count as keys.
        faults: What was wrong already at reading.
    """

    values: dict[str, Any] = field(default_factory=dict)
    locations: dict[Path, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def location(self, path: Path) -> str:
        """Where a value stands or, where it stands nowhere, where the nearest mapping around it does."""
        for end in range(len(path), -1, -1):
            if path[:end] in self.locations:
                return self.locations[path[:end]]
        return "config"

    def set(self, path: Path, value: Any, location: str) -> None:
        """Put a value at a path, making the mappings on the way."""
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
        """Take a value away."""
        node = self.values
        for key in path[:-1]:
            node = node[key]
        for old in _paths(node.pop(path[-1]), path):
            self.locations.pop(old, None)

    def start_anew(self, path: Path, source: Any) -> None:
        """Forget the fields beside a `source` that is about to become another one: they are of the former source.

        With `data.source` goes `validation.split`, which names a part of the same data.

        Args:
            path: Of the `source`.
        """
        values: Any = self.values
        for key in path[:-1]:
            values = values.get(key) if isinstance(values, dict) else None
        former = values.get(SOURCE) if isinstance(values, dict) else None
        if not isinstance(former, str) or not isinstance(source, str) or former == source:
            return
        for key in [key for key in values if key != SOURCE and key not in OF_ANY_SOURCE]:
            self.drop((*path[:-1], key))
        validation = self.values.get("validation")
        if path == ("data", SOURCE) and isinstance(validation, dict) and "split" in validation:
            self.drop(("validation", "split"))

    def section(self, name: str) -> Document:
        """A mapping of this one as a document of its own; empty where there is none."""
        values = self.values.get(name)
        if not isinstance(values, dict):
            return Document()
        return Document(
            values, {path[1:]: location for path, location in self.locations.items() if path[:1] == (name,)}
        )

    def attach(self, name: str, section: Document) -> None:
        """Put a document in the place of a section."""
        self.values[name] = section.values
        self.locations = {path: location for path, location in self.locations.items() if path[:1] != (name,)}
        self.locations |= {(name, *path): location for path, location in section.locations.items()}
        self.faults += section.faults


def as_overrides(values: Mapping[str, Any]) -> list[str]:
    """A config's plain values as overrides `a=value`, a section as one value."""
    return [f"{name}={json.dumps(value)}" for name, value in values.items()]


def layered(*documents: Document) -> Document:
    """One document of several: mappings are joined, of two other values that of the later document stays.

    A mapping whose `source` a later document changes starts anew there.
    """
    joined = Document()
    for document in documents:
        joined.faults += document.faults
        if () in document.locations:
            joined.locations[()] = document.locations[()]
        for path, source in sources_in(document.values):
            joined.start_anew(path, source)
        _lay(joined, document, document.values, ())
    return joined


def sources_in(values: dict[str, Any], path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every `source` in a tree at a path, with its own path."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from sources_in(value, (*path, key))
        elif key == SOURCE:
            yield (*path, key), value


def _lay(joined: Document, document: Document, values: dict[str, Any], path: Path) -> None:
    for key, value in values.items():
        here = (*path, key)
        node: Any = joined.values
        for step in here:
            node = node.get(step) if isinstance(node, dict) else None
        if isinstance(value, dict) and isinstance(node, dict):
            joined.locations[here] = document.location(here)
            _lay(joined, document, value, here)
            continue
        joined.set(here, copy.deepcopy(value), document.location(here))
        joined.locations |= {
            known: document.locations[known] for known in _paths(value, here) if known in document.locations
        }


def _paths(value: Any, path: Path) -> Iterator[Path]:
    """Of a value and all within it; list positions count as keys."""
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
                raise Unreadable("a key must be a name, not a list or a mapping", key_node.start_mark.line + 1)
            key = text_of_node(key_node)
            if key in result:
                document.faults.append(Fault(here, f"{'.'.join((*path, key))} is given twice", "keep one of the two"))
            document.locations[(*path, key)] = here
            result[key] = _construct(value_node, (*path, key), name, document)
        return result
    return [_construct(item, (*path, str(i)), name, document) for i, item in enumerate(node.value)]


def dump_values(values: dict[str, Any]) -> str:
    """A tree of plain values as YAML that `read_document` reads back to equal ones."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def read_document(text: str, name: str) -> Document:
    """Parse a YAML mapping.

    Args:
        name: What to call the file in messages.

    Raises:
        ConfigError: The text is not YAML, or is not a mapping.
    """
    document = Document()
    try:
        node = compose_yaml(text)
        if node is None:
            document.locations[()] = f"{name}:1"
            return document
        if not isinstance(node, yaml.MappingNode):
            raise Unreadable("expected a mapping of `key: value` lines", node.start_mark.line + 1)
        document.values = _construct(node, (), name, document)
    except Unreadable as error:
        raise ConfigError([Fault(f"{name}:{error.line}" if error.line else name, error.problem)]) from None
    return document


def parse_override(text: str) -> tuple[Path, Any] | Fault:
    """Split `a.b=value`; the value is read as YAML, so `1e-3`, `true`, `null` and `[1, 2]` mean what they say."""
    key, sign, value = text.partition("=")
    path = tuple(key.strip().split("."))
    if not sign or not all(path) or len(path) > MAX_KEYS:
        return Fault(override_location(text), "not of the form a.b=value")
    document = Document()
    try:
        node = compose_yaml(value)
        found = None if node is None else _construct(node, path, override_location(text), document)
    except Unreadable as error:
        return Fault(override_location(text), f"the value {error.problem}")
    return document.faults[0] if document.faults else (path, found)


def override_location(text: str) -> str:
    """What an override is called in messages."""
    return f"{OVERRIDE} {without_secrets(text[:READ])[:SHOWN]!r}"
