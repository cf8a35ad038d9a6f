"""The page of scores is current; every score that a command prints is on it, and every command that it names is one."""

from __future__ import annotations

import pytest

from attn.display import SHARES
from attn.evaluation.score import OF_CLASSIFIER, OF_MAPS
from attn.evaluation.score_meanings import MEANINGS, meaning_of
from attn.runs.explain import FieldPage, ScorePage, explain
from docs.commands import scores
from tests.docs.command_line import PROGRAM


def test_the_page_of_scores_is_current() -> None:
    assert scores.FILE.read_text(encoding="utf-8") == scores.page(), "run `python -m docs.commands.scores`"


@pytest.mark.parametrize("name", sorted({*SHARES, *OF_CLASSIFIER, *OF_MAPS, "val/loss", "overlap", "best/val/miou"}))
def test_a_score_is_explained(name: str) -> None:
    pages = [page for page in explain(name) if isinstance(page, ScorePage)]
    assert len(pages) == 1
    assert (pages[0].score, pages[0].meaning, pages[0].range) == (
        (found := meaning_of(name)) and found[0], found and found[1].text, found and found[1].range,
    )  # fmt: skip


def test_a_name_of_a_score_and_a_field_has_both_pages() -> None:
    of_score, *of_fields = explain("precision")
    assert isinstance(of_score, ScorePage)
    assert "training.precision" in [page.name for page in of_fields if isinstance(page, FieldPage)]


@pytest.mark.parametrize("command", sorted({command for one in MEANINGS.values() for command in one.commands}))
def test_a_command_that_is_named_is_there(command: str) -> None:
    found = PROGRAM
    for word in [word for word in command.split()[1:] if not word.startswith("-")]:
        found = found.commands[word]
    options = {option for parameter in found.params for option in parameter.opts}
    assert {word for word in command.split() if word.startswith("-")} <= options
