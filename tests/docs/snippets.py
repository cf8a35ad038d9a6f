"""The fenced blocks of the documents, and the commands in them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(r"^\s*```\s*(\S*)\s*$")
NOT_RUN = re.compile(r"^\s*<!-- not run: (?P<reason>\S.*) -->\s*$")
OUTPUT = ("", "text")
"""Languages of blocks that hold what a program prints or leaves."""


@dataclass(frozen=True)
class Snippet:
    """A fenced block.

    Attributes:
        reason: Why it is not run, from the comment `<!-- not run: reason -->` before it.
    """

    page: str
    line: int
    language: str
    text: str
    reason: str | None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def snippets(page: Path, name: str) -> Iterator[Snippet]:
    """The blocks of a page, in order."""
    begin, language, before, reason = 0, "", "", None
    text: list[str] = []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if fence := FENCE.match(line):
            if begin:
                yield Snippet(name, begin, language, "\n".join(text) + "\n", reason)
                begin, text, before = 0, [], ""
            else:
                said = NOT_RUN.match(before)
                begin, language, reason = number, fence[1], said["reason"] if said else None
        elif begin:
            text.append(line)
        elif line.strip():
            before = line
    assert not begin, f"{name}:{begin}: the block has no end"


def commands(text: str) -> Iterator[list[str]]:
    """The words of each command of a shell snippet, without assignments in front and comments."""
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        reader = shlex.shlex(line, posix=True, punctuation_chars=True)
        reader.whitespace_split = True
        words: list[str] = []
        for word in [*reader, ";"]:
            if set(word) <= set("();<>|&"):
                while words and re.match(r"[A-Z][A-Z_]*=", words[0]):
                    words.pop(0)
                if words:
                    yield words
                words = []
            else:
                words.append(word)
