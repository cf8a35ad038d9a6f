"""Commands to repeat a run and to compare two runs."""

from __future__ import annotations

__all__ = ["diff", "repro"]

from typing import TYPE_CHECKING, Annotated

import typer

from attn.display import figure, is_share, percent
from services.cli.arguments import Root
from services.cli.command import Result, command
from services.cli.models import print_pairs
from services.cli.tables import print_rows

if TYPE_CHECKING:
    from rich.console import Console

    from jobs.difference import FieldDifference, MetricComparison, ValueComparison

LONGEST = 60


@command
def repro(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Name of a run, as `attn ls` prints it, or its folder.")],
    root: Root = "runs",
    to: Annotated[str | None, typer.Option(help="Folder to write; by default repro-RUN.", show_default=False)] = None,
) -> Result:
    """Write what is needed to repeat a run: config, package versions, commit and changes, data fingerprint, command."""
    from jobs.repro import run as write

    result = write(run, root=root, to=to)

    def show(console: Console) -> None:
        console.print(f"{result.folder}: {', '.join(result.files)}", markup=False)
        for note in result.recipe.notes:
            console.print(note, markup=False)

    return Result(result.to_json(), show)


@command
def diff(
    a: Annotated[str, typer.Argument(metavar="A", help="Name of a run, or its folder.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The run to compare it with.")],
    root: Root = "runs",
) -> Result:
    """Compare two runs: config, data, code, environment, metrics, and scores of the same protocol."""
    from jobs.difference import run

    result = run(a, b, root=root)

    def show(console: Console) -> None:
        _print_differences(console, "config", result.config)
        for name, pair in (("data", result.data), ("code", result.code), ("weights", result.weights)):
            _print_same(console, name, pair)
        _print_differences(console, "environment", result.environment)
        _print_differences(console, "packages", result.packages)
        _print_metrics(console, result.metrics, result.metrics_of, result.why_not)
        if result.rounding:
            differ = f"{', '.join(result.rounding)} {'differs' if len(result.rounding) == 1 else 'differ'}"
            console.print(f"{differ}: figures may differ by rounding for this reason alone", markup=False)
        for line in result.unscored:
            console.print(line, markup=False)
        pairs = result.scores.to_json()
        if not result.unscored and (pairs["compared"] or pairs["not_compared"]):
            console.print("scores of evaluations")
            print_pairs(console, pairs)

    return Result(result.to_json(), show)


def _print_differences(console: Console, title: str, rows: list[FieldDifference]) -> None:
    console.print(title if rows else f"{title}: the same", markup=False)
    if rows:
        print_rows(console, [(f"  {row.field}", _short(row.a), _short(row.b)) for row in rows])


def _print_same(console: Console, title: str, pair: ValueComparison) -> None:
    result = {True: "the same", False: "different", None: "not known for both"}[pair.same]
    both = "" if pair.same else f": {_short(pair.a)} and {_short(pair.b)}"
    console.print(f"{title}: {result}{both}", markup=False)


def _print_metrics(console: Console, rows: list[MetricComparison], of: list[str], why: list[str]) -> None:
    if not rows:
        return
    whose = of[0] if of[0] == of[1] else f"{of[0]}, and {of[1]}"
    console.print(f"metrics of {whose}" + (", not comparable as they were measured differently:" if why else ""))
    for reason in why:
        console.print(f"  {reason}", markup=False)
    print_rows(
        console,
        [(f"  {row.name}", *(figure(row.name, value) for value in (row.a, row.b)), _difference(row)) for row in rows],
    )


def _difference(row: MetricComparison) -> str:
    if row.difference is None:
        return "-"
    return f"{percent(row.difference, sign='+')} %" if is_share(row.name) else f"{row.difference:+.4f}"


def _short(value: object) -> str:
    text = "-" if value is None else str(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
