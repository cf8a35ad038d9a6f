"""Each promise of the threat model names tests that are there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

PROMISE = re.compile(r"^\| (?P<promise>.+?) \| (?P<tests>`tests/.+`) \|$", re.MULTILINE)
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def test_every_promise_is_held_to(repository: Path) -> None:
    text = (repository / "docs" / "threat-model.md").read_text(encoding="utf-8")
    promised = text.partition("## What is promised")[2].partition("## What is not promised")[0]
    rows = [line for line in promised.splitlines() if line.startswith("| ") and not line.startswith("| promise |")]
    promises = list(PROMISE.finditer(promised))
    assert len(promises) == len(rows) > 20, "a promise without a test"
    for promise in promises:
        named = TEST.findall(promise["tests"])
        assert promise["tests"] == ", ".join(f"`{file}::{name}`" for file, name in named), promise["promise"]
        for file, name in named:
            tree = ast.parse((repository / file).read_text(encoding="utf-8"))
            there = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
            assert name in there, f"{promise['promise']}: {file} has no {name}"
