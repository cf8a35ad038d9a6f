"""The figures of the README are those of the results."""

from __future__ import annotations

import re
from pathlib import Path

CHANGE = re.compile(r"(\d+\.\d) → (\d+\.\d)")
MEASURED = re.compile(r"(\d+\.\d)(?: ± \d+\.\d)? → (\d+\.\d)")


def test_the_gains_of_the_readme_are_rows_of_the_results(repository: Path) -> None:
    said = set(CHANGE.findall((repository / "README.md").read_text(encoding="utf-8")))
    measured = set(MEASURED.findall((repository / "docs/results.md").read_text(encoding="utf-8")))
    assert len(said) > 5
    assert said <= measured, said - measured


def test_the_costs_of_the_readme_are_rows_of_the_performance(repository: Path) -> None:
    readme = (repository / "README.md").read_text(encoding="utf-8")
    (row,) = re.findall(r"^\| a training step with a map .*$", readme, re.MULTILINE)
    figures = re.findall(r"\d\.\d\d", row)
    measured = (repository / "docs/results/performance.md").read_text(encoding="utf-8")
    assert len(figures) == 3
    for figure in figures:
        assert f"| {figure} " in measured, figure


def test_the_readme_is_short(repository: Path) -> None:
    assert len((repository / "README.md").read_text(encoding="utf-8").splitlines()) < 200


def test_pages_are_short(repository: Path) -> None:
    """A page is read in one go; the notebook of what was tried and dropped may be longer."""
    for page in repository.glob("docs/**/*.md"):
        if "notebook" not in page.parts:
            assert len(page.read_text(encoding="utf-8").splitlines()) <= 250, page
