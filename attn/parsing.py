"""YAML and JSON that anyone may have written: read within limits, and whatever is wrong is one error.

YAML 1.2 scalars: `1e-3` is a number and `no`, `on`, `off` are strings, unlike PyYAML's default. Tags are those of plain
values, and only where the value is one.
"""

from __future__ import annotations

__all__ = ["RESOLVERS", "Unreadable", "compose_yaml", "load_json", "require_tag", "scalar_of", "text_of_node"]

import json
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import yaml

MAX_TEXT = 1 << 20
"""Characters of a YAML text: a config has a few thousand."""
MAX_NODES = 20_000
"""Values of a YAML text, with each alias counted as what it stands for."""
MAX_DEPTH = 64
"""Mappings and lists in each other."""
TOO_DEEP = f"is nested too deeply: at most {MAX_DEPTH} levels"
MAX_INT = 2**63 - 1
MAX_DIGITS = 20
SHOWN = 100
SMALL_JSON = 16 << 20
"""Bytes up to which the depth is looked at: annotations of half a gigabyte would take seconds more."""
TAG = "tag:yaml.org,2002:"
SCALARS = {
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?[0-9]+|0x[0-9a-fA-F]+", "-+0123456789"),
    "float": (r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
              "-+0123456789."),
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
}  # fmt: skip
"""By kind, how a value is written, and with what that can begin."""
PATTERNS = {f"{TAG}{kind}": re.compile(f"^(?:{pattern})$") for kind, (pattern, _) in SCALARS.items()}
NO_TEXT = re.compile(r"[^\t\n\r -~\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What YAML does not allow in a text: not as an escape either, here."""


class Unreadable(Exception):
    """What is wrong with a text, and in which line of it, where that is known."""

    def __init__(self, problem: str, line: int | None = None) -> None:
        self.problem, self.line = problem, line
        super().__init__(problem)


class _Size(NamedTuple):
    """Of what an anchor names, aliases in it written out."""

    nodes: int
    depth: int


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the scalar rules of YAML 1.2's core schema, which counts what it composes."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._sizes: dict[int, _Size] = {}
        self._nodes = self._depth = self._deepest = 0

    def fetch_flow_collection_start(self, TokenClass: type[yaml.Token]) -> None:
        """Refuse depth before it is read: PyYAML goes through all open brackets for each further one."""
        if self.flow_level >= MAX_DEPTH:
            raise Unreadable(TOO_DEEP, self.line + 1)
        super().fetch_flow_collection_start(TokenClass)

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: Any = self.peek_event()
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            node = super().compose_node(parent, index)
            if id(node) not in self._sizes:
                raise Unreadable(f"*{event.anchor} stands inside of what it names", line)
            self._count(self._sizes[id(node)], line)
            return node
        nodes, depth, deepest = self._nodes, self._depth, self._deepest
        self._count(_Size(1, 1), line)
        self._depth = self._deepest = depth + 1
        node = super().compose_node(parent, index)
        if event.anchor is not None:
            self._sizes[id(node)] = _Size(self._nodes - nodes, self._deepest - depth)
        self._depth, self._deepest = depth, max(deepest, self._deepest)
        return node

    def _count(self, size: _Size, line: int) -> None:
        self._nodes += size.nodes
        self._deepest = max(self._deepest, self._depth + size.depth)
        if self._nodes > MAX_NODES:
            raise Unreadable(f"has more than {MAX_NODES} values, with each alias written out", line)
        if self._deepest > MAX_DEPTH:
            raise Unreadable(TOO_DEEP, line)


_Loader.yaml_implicit_resolvers = {}
for _kind, (_, _first) in SCALARS.items():
    _Loader.add_implicit_resolver(f"{TAG}{_kind}", PATTERNS[f"{TAG}{_kind}"], list(_first))
RESOLVERS = _Loader.yaml_implicit_resolvers


def compose_yaml(text: str) -> yaml.Node | None:
    """The tree of a YAML text, aliases resolved; None where it is empty.

    Raises:
        Unreadable: It is not YAML, or beyond the limits.
    """
    if len(text) > MAX_TEXT:
        raise Unreadable(f"has {len(text)} characters; at most {MAX_TEXT} are read as YAML")
    try:
        loader = _Loader(text)
        try:
            return loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = f"is not valid YAML: {error.problem or error.context}"
        raise Unreadable(problem, mark.line + 1 if mark else None) from None
    except yaml.YAMLError as error:
        raise Unreadable(f"is not valid YAML: {str(error).splitlines()[0]}") from None
    except (ValueError, OverflowError) as error:  # of escapes and directives that PyYAML does not look at
        raise Unreadable(f"is not valid YAML: {error}") from None


def scalar_of(node: yaml.ScalarNode) -> bool | int | float | str | None:
    """The value of a node that is no mapping or list.

    Raises:
        Unreadable: It is too large a number, no text, or has a tag that says it is something else.
    """
    text, line = text_of_node(node), node.start_mark.line + 1
    kind = node.tag.removeprefix(TAG)
    if kind == "str":
        return text
    if not PATTERNS[node.tag].match(text):
        raise Unreadable(f"{text[:40]!r} is not of the type that its tag {kind} says", line)
    match kind:
        case "null":
            return None
        case "bool":
            return text.lower() == "true"
        case "float":
            return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        case _:
            value = int(text, 16 if "x" in text else 10) if len(text) <= MAX_DIGITS else MAX_INT + 1
            if abs(value) > MAX_INT:
                raise Unreadable(f"{text[:MAX_DIGITS]}... is too large a number: at most {MAX_INT}", line)
            return value


def require_tag(node: yaml.Node, *tags: str) -> None:
    """Refuse a node that is to become something else than a plain value.

    Raises:
        Unreadable: Names its tag.
    """
    if node.tag not in tags:
        problem = f"has the tag {node.tag[:SHOWN]}, which is none of a plain value: leave it out"
        raise Unreadable(problem, node.start_mark.line + 1)


def text_of_node(node: yaml.ScalarNode) -> str:
    """How a value, or a key, is written.

    Raises:
        Unreadable: With a character that is none of a text, such as NUL; or a tag says that it is something else.
    """
    text: str = node.value
    require_tag(node, *PATTERNS, f"{TAG}str")
    if found := NO_TEXT.search(text):
        line = node.start_mark.line + 1
        raise Unreadable(f"holds the character {found.group()!a}, which no text has", line)
    return text


def load_json(data: str | bytes) -> Any:
    """As `json.loads`; a text that is nested deeper than any of ours is a `ValueError` as well.

    Raises:
        ValueError: It is not JSON.
    """
    try:
        value = json.loads(data)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if len(data) <= SMALL_JSON and _is_deep(value):
        raise ValueError(f"it is nested too deeply: at most {MAX_DEPTH} levels")
    return value


def _is_deep(value: Any) -> bool:
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [inner for outer in level for inner in _inside(outer) if isinstance(inner, (dict, list))]
        if not level:
            return False
    return True


def _inside(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
