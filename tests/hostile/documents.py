"""YAML texts that are made to break what reads them as a config.

`DOCUMENTS` has each with the words of the fault that it is.
"""

from __future__ import annotations

__all__ = ["DOCUMENTS"]


def billion(first: str) -> str:
    """Nine lists, each of nine of the one before."""
    lines = [f"a0: &a0 {first}", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10))]
    return "\n".join(lines)


def nested(levels: int) -> str:
    """Lists in each other, by aliases that each add a level or more."""
    lines = ["a0: &a0 [x]", *(f"a{i}: &a{i} [[[*a{i - 1}]]]" for i in range(1, levels))]
    return "\n".join(lines)


DOCUMENTS: dict[str, tuple[str, str]] = {
    "aliases of aliases": (billion("[x, x]"), r"f\.yaml:\d+: has more than 20000 values, with aliases expanded"),
    "aliases of mappings": (billion("{a: b}"), "has more than 20000 values"),
    "merge keys of merge keys": (
        "\n".join(["a0: &a0 {x: 1}", *(f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}" for i in range(1, 9))]),
        "has more than 20000 values",
    ),
    "a list in itself": ("a: &a [*a]", r"f\.yaml:1: alias \*a is inside its own anchor"),
    "a mapping in itself": ("a: &a\n  b: *a", r"f\.yaml:2: alias \*a is inside"),
    "an alias of nothing": ("a: *b", "found undefined alias"),
    "levels by aliases": (nested(40), "is nested too deeply: at most 64 levels"),
    "levels of brackets": ("a: " + "[" * 70 + "]" * 70, "is nested too deeply"),
    "levels of brackets without end": ("[" * 900_000, "is nested too deeply"),
    "levels of braces without end": ("a: " + "{[" * 400_000, "is nested too deeply"),
    "levels of dashes": ("- " * 50_000, "is nested too deeply"),
    "levels of questions": ("? " * 50_000, "is nested too deeply"),
    "levels of indents": ("\n".join(" " * i + "a:" for i in range(1000)), "is nested too deeply"),
    "a million characters": ("a: " + "x" * 2**20, "has 1048579 characters; at most 1048576 are read"),
    "a million values": ("a: [" + "0," * 400_000 + "]", "has more than 20000 values"),
    "a NUL": ("a: \0", "is not valid YAML: unacceptable character"),
    "an escaped NUL": ('a: "\\0"', r"f\.yaml:1: contains the character '\\x00'"),
    "an escaped surrogate": ('a: "\\uD800"', "contains the character"),
    "an escape of no character": ('a: "\\UFFFFFFFF"', "is not valid YAML"),
    "an escaped NUL in a key": ('"\\0": 1', "contains the character"),
    "a surrogate": ("a: \ud800", "is not valid YAML"),
    "a bell": ("a: \a", "is not valid YAML"),
    "a tag of Python": ("a: !!python/object/apply:os.system [id]", r"has the tag tag:yaml.org,2002:python/object"),
    "a tag of Python on a key": ("!!python/name:os.system : 1", "has the tag"),
    "a tag on the whole": ("!!python/dict\na: 1", "has the tag"),
    "a tag of a set": ("a: !!set {b}", "has the tag"),
    "a tag of bytes": ("a: !!binary eA==", "has the tag"),
    "a tag of a time": ("a: !!timestamp x", "has the tag"),
    "a tag of one's own": ("a: !mine x", "has the tag !mine"),
    "a tag that is wrong": ("a: !!int x", "'x' does not match its tag int"),
    "a tag that is wrong, of a number": ("a: !!float x", "does not match its tag"),
    "a list as a key": ("? [a, b]\n: c", r"a key must be a name"),
    "a mapping as a key": ("{a: 1}: c", r"a key must be a name"),
    "5,000 digits": ("a: " + "9" * 5000, r"f\.yaml:1: 99999999999999999999\.\.\. is too large: the maximum"),
    "5,000 digits of 16": ("a: 0x" + "f" * 5000, "is too large: the maximum"),
    "one more than 63 bits": ("a: 9223372036854775808", "is too large: the maximum"),
    "a version of 5,000 digits": ("%YAML " + "9" * 5000 + ".1\n---\na: 1", "is not valid YAML"),
    "two documents": ("a: 1\n---\na: 2", "is not valid YAML: but found another document"),
    "a list": ("- a", "expected a mapping"),
}  # fmt: skip
