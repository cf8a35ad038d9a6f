"""Which words of a command its reader cannot have from the documents."""

from __future__ import annotations

__all__ = ["dotted", "fields_of_file", "fields_of_snippets", "undocumented"]

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from attn.runs.recipes import recipe_paths
from tests.docs.command_line import PROGRAM, parsed
from tests.docs.snippets import commands, snippets

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")), *sorted(ROOT.glob("docs/results/*.md"))]
REFERENCE = sorted(ROOT.glob("docs/reference/configuration/*.md"))
OVERRIDE = re.compile(r"([A-Za-z_][\w.]*)=")
KINDS_OF_WORDS = (
    ("an override", OVERRIDE),
    ("a model of the registry", re.compile(r"[^/]+@\w+$")),
    ("a version of a model", re.compile(r"\w+/\d+$")),
    ("a recipe", re.compile(r".*\.ya?ml$")),  # the pages say that a file may be in its place
    ("an image", re.compile(r".*\.(jpe?g|png)$")),
)
"""What stands for what: a reader puts their own file, run or model where a snippet has one."""
RECIPES = {(command, "recipe") for command in ("train", "segment", "pipeline", "sweep", "validate", "init")} | {
    ("plan", "words"), ("submit", "target"), ("recipes", "name"), ("data", "target")}  # fmt: skip
"""Arguments that may be a recipe; elsewhere the name is that of a run."""


@dataclass(frozen=True)
class Shape:
    """A command without what its reader chooses.

    Attributes:
        command: Such as `segment predict`.
        arguments: The kinds of the words that are no options.
        options: Names of the options.
    """

    command: str
    arguments: frozenset[tuple[str, str]]
    options: frozenset[str]


def undocumented(words: list[str], known: Collection[str] = ()) -> list[str]:
    """What of a command stands in no page: the command with its arguments, an option, a field.

    Args:
        words: The command, `attn` left out.
        known: Fields that the reader has from a file that `attn init` wrote.
    """
    typed = shape(words)
    alike = [other for other in documented_shapes() if other.command == typed.command]
    found = [word for word in typed.options if not any(word in other.options for other in alike)]
    if not any(typed.arguments == other.arguments for other in alike):
        found.insert(
            0, f"attn {typed.command} with {', '.join(kind for _, kind in sorted(typed.arguments)) or 'nothing'}"
        )
    for field in (match[1] for word in words if (match := OVERRIDE.match(word))):
        if not is_explained(field) or (field not in known and field not in fields_of_snippets()):
            found.append(field)
    return found


def shape(words: list[str]) -> Shape:
    command, parameters = parsed(words)
    arguments = {part.name for part in command_at(command).params if part.param_type_name == "argument"}
    return Shape(
        command,
        frozenset(
            (name, kind_of(str(word), name, recipe=takes_recipe(command, name, parameters)))
            for name, value in parameters.items()
            if name in arguments
            for word in (value if isinstance(value, (list, tuple)) else [value])
            if word is not None and not OVERRIDE.match(str(word))
        ),
        frozenset(word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)),
    )


def command_at(name: str) -> Any:
    command = PROGRAM
    for word in name.split():
        command = command.commands[word]
    return command


def takes_recipe(command: str, argument: str, parameters: dict[str, Any]) -> bool:
    return (command.split()[0], argument) in RECIPES and parameters.get("kind") not in ("evaluate", "maps")


def kind_of(word: str, argument: str, *, recipe: bool) -> str:
    if argument == "kind":
        return word
    if recipe and word in recipe_paths():
        return "a recipe"
    return next((kind for kind, pattern in KINDS_OF_WORDS if pattern.match(word)), "a name or path")


@cache
def documented_shapes() -> frozenset[Shape]:
    completion = "--install-completion"  # it would change the shell of whoever runs the tests
    return frozenset(
        shape(words[1:]) for words in commands_of_snippets() if words[0] == "attn" and completion not in words
    )


@cache
def fields_of_snippets() -> frozenset[str]:
    """Fields of overrides in shell snippets, and of the YAML files that pages show."""
    found = {match[1] for words in commands_of_snippets() for word in words if (match := OVERRIDE.match(word))}
    for language, text in snippet_texts():
        if language == "yaml":
            found.update(dotted(yaml.safe_load(text)))
    return frozenset(found)


def fields_of_file(path: Path) -> set[str]:
    """The fields of a file that `attn init` wrote, those in comments too."""
    text = re.sub(r"^( *)# ?(?=[ ]*[a-z_.]+:(?: |$))", r"\1", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = [line for line in text.splitlines() if re.match(r" *[a-z_.]+:(?: |$)", line)]
    return set(dotted(yaml.safe_load("\n".join(lines))))


def dotted(value: Any, prefix: str = "") -> Iterator[str]:
    """The dotted names of all fields in a document."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield f"{prefix}{name}"
            yield from dotted(inner, f"{prefix}{name}.")


@cache
def is_explained(field: str) -> bool:
    """Whether a page names a field, or the generated reference has it in the table of its section."""
    if any(re.search(rf"\b{re.escape(field)}\b", page.read_text(encoding="utf-8")) for page in PAGES):
        return True
    section, _, name = field.rpartition(".")
    for page in REFERENCE:
        for part in page.read_text(encoding="utf-8").split("\n## ")[1:]:
            heading = re.split(r"[,\n]", part, maxsplit=1)[0]
            if f"\n| `{name}` |" in part and (section == heading or section.endswith(f".{heading}")):
                return True
    return False


def commands_of_snippets() -> Iterator[list[str]]:
    for language, text in snippet_texts():
        if language == "bash":
            yield from commands(text)


@cache
def snippet_texts() -> list[tuple[str, str]]:
    return [(part.language, part.text) for page in PAGES for part in snippets(page, page.name)]
