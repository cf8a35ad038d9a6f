"""What the documents name is there: files, modules, functions, tests, configuration fields, recipes."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from attn.runs.field_tree import dotted_fields
from attn.runs.recipes import recipe_paths

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = [
    path
    for path in sorted((*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")))
    if path.name != "CHANGELOG.md"  # it tells of what was
]
FOLDERS = "attn|jobs|services|tests|benchmarks|docs|deploy"
IN_CODE = re.compile(r"`([^`\n]+)`")
PATH = re.compile(rf"(?:{FOLDERS}|\.ci)/[\w./*<>-]*")
DOTTED = re.compile(r"(?:attn|jobs|services|benchmarks)(?:\.\w+)+")
IN_FILE = re.compile(rf"`(\w+)`(?: \([^)]*\))? (?:in|of|from) `((?:{FOLDERS})/[\w/]+\.py)`")
TEST = re.compile(r"(tests/[\w/]+\.py)::(\w+)")
GROUP = re.compile(r"^::: ([\w.]+)$", re.MULTILINE)
FIELD = re.compile(r"([a-z_]+(?:\.[a-z_]+)+)(?:=.*)?")
PLACEHOLDER = re.compile(r"<|/[A-Z]{4,}\b")
FILES = (".md", ".py", ".json", ".yaml", ".csv", ".png", ".jsonl", ".pt", ".log", ".txt", ".db", ".onnx", ".html")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_what_a_page_names_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert not list(faults(text)), f"{page.relative_to(ROOT)} names what is not there"


def faults(text: str) -> Iterator[str]:
    """The names in a page's text that nothing has."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    yield from (code for code in IN_CODE.findall(prose) if not is_there(code))
    for name, path in IN_FILE.findall(text):
        if not (ROOT / path).is_file() or not re.search(rf"\b{name}\b", source(ROOT / path)):
            yield f"{name} in {path}"
    yield from (name for name in GROUP.findall(text) if not resolves(name))


def is_there(code: str) -> bool:
    """Whether what stands in code style is there, where it is a name that can be looked up."""
    if match := TEST.fullmatch(code):
        return (ROOT / match[1]).is_file() and match[2] in names_in(ROOT / match[1])
    if PATH.fullmatch(code):
        return bool(PLACEHOLDER.search(code)) or any(ROOT.glob(code.rstrip("/")))
    if code.endswith(FILES):
        return True
    if DOTTED.fullmatch(code):
        return resolves(code) or f'"{code}"' in all_sources()  # a tag of MLflow's begins like a module
    if (match := FIELD.fullmatch(code)) and match[1].partition(".")[0] in sections():
        return match[1] in fields() or match[1].endswith(FILES)
    return True


@pytest.mark.parametrize(
    "text",
    [
        "see `attn/losses/minning.py`",
        "see `attn.losses.attention_minning`",
        "::: attn.nothing",
        "`attention_minning` in `attn/losses/mining.py`",
        "`tests/docs/test_names.py::test_nothing`",
        "set `training.epoch=3`",
        "`store.accumulated`",
    ],
)
def test_a_wrong_name_is_found(text: str) -> None:
    assert list(faults(text))


def test_what_is_right_passes() -> None:
    text = (
        "`attn/losses/mining.py`, `attn.losses.attention_mining`, `attn.store.Session.commit`, `attn/methods/`, "
        "`attention_mining` in `attn/losses/mining.py`, `training.epochs=3`, `store.json`, `train.training.epochs`"
    )
    assert not list(faults(text))


def test_the_python_reference_shows_what_a_package_exports() -> None:
    """The site takes a name for the module that is called the same: such a function has a line of its own."""
    for page in (ROOT / "docs/reference/python").glob("*.md"):
        shown = GROUP.findall(source(page))
        for name in shown:
            folder = ROOT.joinpath(*name.split("."))
            for path in folder.glob("*.py"):
                if f'"{path.stem}",' in source(folder / "__init__.py") and path.stem in names_in(path):
                    assert f"{name}.{path.stem}.{path.stem}" in shown, page


def test_decisions_are_numbered_in_turn(repository: Path) -> None:
    pages = sorted((repository / "docs/decisions").glob("0*.md"))
    assert [page.name[:4] for page in pages] == [f"{number:04}" for number in range(1, len(pages) + 1)]
    assert all(page.read_text().startswith(f"# {int(page.name[:4])}. ") for page in pages)


def test_recipes_in_tables_are_there() -> None:
    """A recipe in the first column that says so, and any name that ends as only recipes do."""
    for page in PAGES:
        for code in IN_CODE.findall(page.read_text(encoding="utf-8")):
            if re.fullmatch(r"\w+_(?:voc|paper|photographs|segment_scenes)", code) and code != "single_label":
                assert code in recipe_paths(), f"{page.relative_to(ROOT)}: there is no recipe {code}"


@cache
def source(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@cache
def all_sources() -> str:
    return "".join(source(path) for folder in ("attn", "jobs", "services") for path in ROOT.glob(f"{folder}/**/*.py"))


@cache
def names_in(path: Path) -> dict[str, ast.AST]:
    """The names that a module defines or imports, with what they are."""
    return dict(_named(ast.parse(source(path)).body))


def _named(body: list[ast.stmt]) -> Iterator[tuple[str, ast.AST]]:
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name, node
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id, node
        elif isinstance(node, ast.Assign):
            yield from (
                (name.id, node) for target in node.targets for name in ast.walk(target) if isinstance(name, ast.Name)
            )
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from ((alias.asname or alias.name, node) for alias in node.names)
        elif isinstance(node, (ast.If, ast.Try)):
            yield from _named(node.body)


def resolves(name: str) -> bool:
    """Whether a dotted name is a module, or something in one, without importing it."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        module = ROOT.joinpath(*parts[:length])
        path = module / "__init__.py" if module.is_dir() else module.with_suffix(".py")
        if not path.is_file():
            continue
        rest = parts[length:]
        if not rest:
            return True
        node = names_in(path).get(rest[0])
        if isinstance(node, ast.ImportFrom) and rest[1:]:
            original = next(alias.name for alias in node.names if (alias.asname or alias.name) == rest[0])
            return resolves(".".join([str(node.module), original, *rest[1:]]))
        if isinstance(node, ast.ClassDef) and rest[1:]:
            return rest[1] in dict(_named(node.body))
        return node is not None
    return False


@cache
def fields() -> frozenset[str]:
    """Every dotted field of every command's config, and every section."""
    return frozenset(dotted_fields())


@cache
def sections() -> frozenset[str]:
    return frozenset(name.partition(".")[0] for name in fields() if "." in name)
