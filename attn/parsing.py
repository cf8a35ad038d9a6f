"""Parse untrusted YAML and JSON within limits; every problem raises one type of error.

Scalars follow YAML 1.2: `1e-3` is a number, and `no`, `on` and `off` are strings, unlike in PyYAML. Only tags of plain
values are allowed, and the value must match its tag.
"""

from __future__ import annotations

__all__ = ["RESOLVERS", "ParseError", "compose_yaml", "load_json", "require_tag", "scalar_of", "text_of_node"]

import json
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import yaml

MAX_TEXT = 1 << 20
"""Maximum characters of a YAML text; a config has a few thousand."""
MAX_NODES = 20_000
"""Maximum number of values of a YAML text, with aliases expanded."""
MAX_DEPTH = 64
"""Maximum nesting of mappings and lists."""
TOO_DEEP = f"is nested too deeply: at most {MAX_DEPTH} levels"
MAX_INT = 2**63 - 1
MAX_DIGITS = 20
SHOWN = 100
SMALL_JSON = 16 << 20
"""Maximum bytes of a JSON text whose depth is checked; for annotations of half a gigabyte it would take seconds."""
TAG = "tag:yaml.org,2002:"
SCALARS = {
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?[0-9]+|0x[0-9a-fA-F]+", "-+0123456789"),
    "float": (r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
              "-+0123456789."),
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
}  # fmt: skip
"""By kind: regular expression of a value, and its possible first characters."""
PATTERNS = {f"{TAG}{kind}": re.compile(f"^(?:{pattern})$") for kind, (pattern, _) in SCALARS.items()}
NOT_TEXT = re.compile(r"[^\t\n\r -~\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that YAML does not allow in a text; here they are not allowed as escapes either."""


class ParseError(Exception):
    """A text cannot be parsed: what is wrong and, if known, in which line."""

    def __init__(self, problem: str, line: int | None = None) -> None:
        self.problem, self.line = problem, line
        super().__init__(problem)


class _Size(NamedTuple):
    """Size of an anchor's node, with aliases expanded."""

    nodes: int
    depth: int


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the scalars of YAML 1.2's core schema, and limits on the number and depth of nodes."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._sizes: dict[int, _Size] = {}
        self._nodes = self._depth = self._deepest = 0

    def fetch_flow_collection_start(self, TokenClass: type[yaml.Token]) -> None:
        """Check the depth early: PyYAML's time per bracket grows with the number of open brackets."""
        if self.flow_level >= MAX_DEPTH:
            raise ParseError(TOO_DEEP, self.line + 1)
        super().fetch_flow_collection_start(TokenClass)

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: Any = self.peek_event()
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            node = super().compose_node(parent, index)
            if id(node) not in self._sizes:
                raise ParseError(f"alias *{event.anchor} is inside its own anchor", line)
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
            raise ParseError(f"has more than {MAX_NODES} values, with aliases expanded", line)
        if self._deepest > MAX_DEPTH:
            raise ParseError(TOO_DEEP, line)


_Loader.yaml_implicit_resolvers = {}
for _kind, (_, _first) in SCALARS.items():
    _Loader.add_implicit_resolver(f"{TAG}{_kind}", PATTERNS[f"{TAG}{_kind}"], list(_first))
RESOLVERS = _Loader.yaml_implicit_resolvers


def compose_yaml(text: str) -> yaml.Node | None:
    """The node tree of a YAML text with aliases resolved; None if the text is empty.

    Raises:
        ParseError: It is not YAML, or exceeds the limits.
    """
    if len(text) > MAX_TEXT:
        raise ParseError(f"has {len(text)} characters; at most {MAX_TEXT} are read as YAML")
    try:
        loader = _Loader(text)
        try:
            return loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = f"is not valid YAML: {error.problem or error.context}"
        raise ParseError(problem, mark.line + 1 if mark else None) from None
    except yaml.YAMLError as error:
        raise ParseError(f"is not valid YAML: {str(error).splitlines()[0]}") from None
    except (ValueError, OverflowError) as error:  # from escapes and directives that PyYAML does not check
        raise ParseError(f"is not valid YAML: {error}") from None


def scalar_of(node: yaml.ScalarNode) -> bool | int | float | str | None:
    """The value of a scalar node.

    Raises:
        ParseError: The number is too large, a character is not allowed, or the value does not match its tag.
    """
    text, line = text_of_node(node), node.start_mark.line + 1
    kind = node.tag.removeprefix(TAG)
    if kind == "str":
        return text
    if not PATTERNS[node.tag].match(text):
        raise ParseError(f"{text[:40]!r} does not match its tag {kind}", line)
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
                raise ParseError(f"{text[:MAX_DIGITS]}... is too large: the maximum is {MAX_INT}", line)
            return value


def require_tag(node: yaml.Node, *tags: str) -> None:
    """Check that a node has one of the given tags.

    Raises:
        ParseError: It has another tag.
    """
    if node.tag not in tags:
        problem = f"has the tag {node.tag[:SHOWN]}; only plain values are allowed: remove the tag"
        raise ParseError(problem, node.start_mark.line + 1)


def text_of_node(node: yaml.ScalarNode) -> str:
    """The text of a scalar node or a key.

    Raises:
        ParseError: A character is not allowed in a text, such as NUL, or the tag is not allowed.
    """
    text: str = node.value
    require_tag(node, *PATTERNS, f"{TAG}str")
    if match := NOT_TEXT.search(text):
        line = node.start_mark.line + 1
        raise ParseError(f"contains the character {match.group()!a}, which is not allowed", line)
    return text


def load_json(data: str | bytes) -> Any:
    """Like `json.loads`, with a limit on the nesting.

    Raises:
        ValueError: It is not JSON, or nested too deeply.
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
