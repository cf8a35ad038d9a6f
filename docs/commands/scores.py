"""The page of all scores, from the table that `attn explain` prints: `python -m docs.commands.scores`."""

from __future__ import annotations

__all__ = ["FILE", "page"]

from pathlib import Path
from textwrap import fill

from attn.evaluation.score_meanings import MEANINGS, Meaning
from attn.runs.papers import papers_in

FILE = Path(__file__).resolve().parent.parent / "reference" / "scores.md"
INTRO = (
    "What each score measures, what the data must have for it, and which command computes it; `attn explain "
    "seed_miou` prints the same. Scores are fractions in files, JSON and MLflow, and percent wherever `attn` prints "
    "or draws them. A prefix says of which data a score is: `val/mean_ap` of a training, `scores/test/seed_miou` in "
    "MLflow. A score belongs to its protocol (data, layer of the maps, threshold rule, CRF, and so on), which "
    "`scores.json` has beside it: values of different protocols are not comparable."
)
WIDTH = 140


def main() -> None:
    """Write the page."""
    FILE.write_text(page(), encoding="utf-8")


def page() -> str:
    """The text of the page."""
    head = f"# Scores\n\n<!-- Written by `python -m docs.commands.scores`; do not edit. -->\n\n{fill(INTRO, WIDTH)}\n"
    rows = ["| score | of | range | better | command |", "|---|---|---|---|---|"]
    for name, one in MEANINGS.items():
        commands = ", ".join(f"`{command}`" for command in one.commands)
        rows.append(f"| [`{name}`](#{name}) | {one.of} | {one.range} | {one.better} | {commands} |")
    return "\n".join([head, *rows, *(_section(name, one) for name, one in MEANINGS.items()), ""])


def _section(name: str, one: Meaning) -> str:
    papers = papers_in(one.source)
    facts = [f"Needs: {one.needs}.", f"Source: {one.source}.", *(f"Paper: {paper}." for paper in papers)]
    return f"\n## {name}\n\n{fill(one.text, WIDTH)}\n\n" + "\n".join(f"- {fact}" for fact in facts)


if __name__ == "__main__":
    main()
