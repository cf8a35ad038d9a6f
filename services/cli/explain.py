"""The command that explains fields of configs, and scores."""

from __future__ import annotations

__all__ = ["explain"]

import json
import textwrap
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli.command import Result, command
from services.cli.tables import print_rows

if TYPE_CHECKING:
    from rich.console import Console

    from attn.runs.explain import FieldPage, ScorePage, SectionPage

WIDTH = 100
MOST_RECIPES = 40


@command
def explain(
    field: Annotated[
        str,
        typer.Argument(
            metavar="FIELD",
            help="A field (method.alpha), a section (training), a choice (method.name=gain), a field's last name, or a "
            "score (seed_miou).",
        ),
    ],
) -> Result:
    """Explain a field of a config (type, range, default, meaning, paper, recipes that set it), or a score.

    A section is explained with its fields, a choice such as method.name=gain with its own. A score is explained with
    what it needs, its range, and the commands that compute it.
    """
    from attn.runs.explain import ScorePage, SectionPage
    from attn.runs.explain import explain as look_up

    pages = look_up(field)

    def show(console: Console) -> None:
        for number, page in enumerate(pages):
            if number:
                console.print()
            if isinstance(page, SectionPage):
                _print_section(console, page)
            elif isinstance(page, ScorePage):
                _print_score(console, page)
            else:
                _print_field(console, page)

    return Result({"explained": [page.to_json() for page in pages]}, show)


def _print_field(console: Console, page: FieldPage) -> None:
    with_choices = f" (of {', '.join(page.choices)})" if page.choices else ""
    console.print(f"{page.name}{with_choices}", markup=False)
    _print_text(console, page.meaning)
    names = [f"attn {command}: {', '.join(names)}" for command, names in page.names.items()]
    values = [f"{one.recipe} {_plain(one.value)}{_where(page, one.field)}" for one in page.recipes[:MOST_RECIPES]]
    rows = [("type", page.type), ("range", page.range), ("default", page.default)]
    rows += [("paper" if at == 0 else "", paper) for at, paper in enumerate(page.papers)]
    rows += [("fields" if at == 0 else "", name) for at, name in enumerate(names)]
    rows += [("recipes" if at == 0 else "", value) for at, value in enumerate(values)]
    print_rows(console, [(f"  {label}", text) for label, text in rows if text])


def _print_score(console: Console, page: ScorePage) -> None:
    console.print(f"{page.score} (a score of {page.of})", markup=False)
    _print_text(console, page.meaning)
    rows = [("range", f"{page.range}; {page.better} is better"), ("unit", page.unit), ("needs", page.needs)]
    rows += [("source", page.source), *(("paper", paper) for paper in page.papers)]
    rows += [("command" if at == 0 else "", command) for at, command in enumerate(page.commands)]
    print_rows(console, [(f"  {label}", text) for label, text in rows])


def _print_section(console: Console, page: SectionPage) -> None:
    console.print(page.choice or page.name, markup=False)
    _print_text(console, page.meaning)
    for paper in page.papers:
        console.print(f"  paper  {paper}", markup=False)
    if page.choices:
        print_rows(console, [(f"  {name}", text) for name, text in page.choices.items()])
        console.print("`attn explain` with one of them shows its fields.")
    for field in page.fields:
        bounds = f", {field.range}" if field.range else ""
        last = field.name.rpartition(".")[2]
        default = "required" if field.default == "required" else f"default {field.default}"
        console.print(f"\n  {last}: {field.type}{bounds}; {default}", markup=False)
        _print_text(console, field.meaning, "    ")


def _print_text(console: Console, text: str, indent: str = "  ") -> None:
    for line in textwrap.wrap(text, WIDTH - len(indent)):
        console.print(f"{indent}{line}", markup=False)


def _where(page: FieldPage, field: str) -> str:
    return "" if field == page.name else f" (as {field})"


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
