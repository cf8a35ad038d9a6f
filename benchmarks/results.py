"""Writes the tables of docs/results from the JSON files beside the pages.

    python -m benchmarks.results            # rewrite the tables of every page
    python -m benchmarks.results --check    # rewrite none; exit status 1 where a page differs from its JSON

A table stands between `<!-- table: FILE NAME -->` and `<!-- end of table -->`: the entry NAME of the JSON file FILE,
which lies beside the page. An entry says by which command, when and on what machine its figures were measured, and has
one of three kinds of figures:

- `columns` and `rows`: the figures themselves, as the command printed them. A cell is a text, a number, null, a pair
  (mean and half the range over the seeds) or a longer list (one figure a seed, in their order).
- `scores`, `row`, `titles`, `columns`: means over the seeds of a file that a study wrote (`benchmarks/gain.py`,
  `oaa.py`, `icasc.py`, `attnbn.py`, `segmentation.py`). `titles` names the rows: each key is a value of the study's
  field `row`. Each key of `columns` is a score, with its split before it where the study has several.
- `scores`, `row`, `changes`, `columns`: the same by differences. Each row of `changes` names what is compared, first
  the one that is subtracted from; the cells have one difference a seed.
"""

from __future__ import annotations

__all__ = ["Entry", "main", "pages", "read_entries", "rewritten", "table_of"]

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, TypeAdapter

from benchmarks.tables import mean_and_spread, table_lines

FOLDER = Path(__file__).resolve().parent.parent / "docs/results"
BLOCK = re.compile(r"<!-- table: (\S+) (\S+) -->\n.*?<!-- end of table -->", re.DOTALL)
END = "<!-- end of table -->"
Cell = str | list[str] | None
"""Numbers are read as texts: a page shows the digits that stand in the file."""


class Entry(BaseModel):
    """A table's figures, or where they are, and how they were measured.

    Attributes:
        command: What measures them; lines of it.
        recorded: The day of the commit that brought the figures.
        note: What else a reader must know of them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    command: str
    recorded: str
    machine: str
    note: str = ""
    columns: list[str] | dict[str, str]
    rows: list[list[Cell]] = []
    scores: str = ""
    row: str = "title"
    heading: str = "method"
    titles: dict[str, str] = {}
    changes: dict[str, tuple[str, str]] = {}


class Table(NamedTuple):
    """Where a page shows an entry."""

    file: str
    name: str


Scores = dict[int, dict[str, float]]
"""A row's scores by seed."""
_ENTRIES = TypeAdapter(dict[str, Entry])


def pages(folder: Path = FOLDER) -> list[Path]:
    """The pages below the folder that have tables."""
    return [page for page in sorted(folder.rglob("*.md")) if tables_in(page.read_text(encoding="utf-8"))]


def tables_in(text: str) -> list[Table]:
    """The entries that a page shows, in its order."""
    return [Table(*item) for item in BLOCK.findall(text)]


def read_entries(file: Path) -> dict[str, Entry]:
    """The entries of a JSON file by name.

    Raises:
        pydantic.ValidationError: The file is not one of entries.
    """
    return _ENTRIES.validate_python(json.loads(file.read_text(encoding="utf-8"), parse_float=str, parse_int=str))


def rewritten(page: Path) -> str:
    """A page's text with its tables as the JSON files have them now."""
    shown: list[str] = [""]

    def block(matched: re.Match[str]) -> str:
        file, name = matched.groups()
        entry = read_entries(page.parent / file)[name]
        command = [] if entry.command == shown[-1] else ["```bash", *entry.command.splitlines(), "```", ""]
        shown.append(entry.command)
        lines = [*command, *table_of(entry, page.parent), "", *_source(entry, file)]
        return "\n".join([f"<!-- table: {file} {name} -->", "", *lines, "", END])

    return BLOCK.sub(block, page.read_text(encoding="utf-8"))


def _source(entry: Entry, file: str) -> Iterator[str]:
    figures = f"[{file}]({file})" + (f" and [{entry.scores}]({entry.scores})" if entry.scores else "")
    yield f"Recorded {entry.recorded}, measured on {entry.machine}; figures: {figures}."
    if entry.note:
        yield entry.note


def table_of(entry: Entry, folder: Path) -> list[str]:
    """An entry as the lines of a Markdown table.

    Args:
        folder: Where the file of scores is.
    """
    if isinstance(entry.columns, list):
        return table_lines(entry.columns, ([_cell(cell) for cell in row] for row in entry.rows))
    runs: list[dict[str, Any]] = list(json.loads((folder / entry.scores).read_text(encoding="utf-8")).values())
    heading = [entry.heading, *entry.columns.values()]
    if entry.changes:
        compared = {
            title: [_by_seed(runs, entry.row, value) for value in both] for title, both in entry.changes.items()
        }
        rows = [
            [title, *(_changes(after, before, score) for score in entry.columns)]
            for title, (after, before) in compared.items()
        ]
    else:
        scored = {title: list(_by_seed(runs, entry.row, value).values()) for value, title in entry.titles.items()}
        for score in entry.columns:
            if not any(score in one for seeds in scored.values() for one in seeds):
                raise KeyError(f"{entry.scores} has no score {score}")
        rows = [
            [title, *(mean_and_spread([one[score] for one in seeds if score in one]) for score in entry.columns)]
            for title, seeds in scored.items()
        ]
    return table_lines(heading, rows)


def _by_seed(runs: list[dict[str, Any]], row: str, value: str) -> Scores:
    """The scores of one row of a study by seed; a split's name stands before each score."""
    results: dict[int, dict[str, float]] = {}
    for run in runs:
        if run[row] == value:
            names = (f"{run['split']} {name}" if "split" in run else name for name in run["scores"])
            results.setdefault(run["seed"], {}).update(zip(names, run["scores"].values(), strict=True))
    if not results:
        raise KeyError(f"the study has no run whose {row} is {value}")
    return results


def _changes(after: Scores, before: Scores, score: str) -> str:
    return ", ".join(f"{100 * (after[seed][score] - before[seed][score]):z.1f}" for seed in sorted(after))


def _cell(cell: Cell) -> str:
    if cell is None:
        return ""
    if isinstance(cell, str):
        return cell
    return " ± ".join(cell) if len(cell) == 2 else ", ".join(cell)


def main(*, check: bool, folder: Path = FOLDER) -> None:
    """Rewrite the pages, or say which of them differ."""
    differ = [page for page in pages(folder) if rewritten(page) != page.read_text(encoding="utf-8")]
    for page in differ:
        print(f"{page}: {'differs from its JSON; run `python -m benchmarks.results`' if check else 'rewritten'}")
        if not check:
            page.write_text(rewritten(page), encoding="utf-8")
    if check and differ:
        sys.exit(1)


if __name__ == "__main__":
    if set(sys.argv[1:]) - {"--check"}:
        sys.exit("usage: python -m benchmarks.results [--check]")
    main(check="--check" in sys.argv)
