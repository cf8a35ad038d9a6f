"""The check of what is typed against the documents finds what stands in no page."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.journey.documented import dotted, fields_of_file, undocumented


@pytest.mark.parametrize(
    ("line", "missing"),
    [
        ("train gain data.root=x --run-id mine", []),
        ("train my.yaml --run-id mine", []),
        ("predict a.jpg --model best", []),
        ("models promote mine/3 best", []),
        ("train gain data.on_error=skip", ["data.on_error"]),
        ("train gain method.no_such_field=1", ["method.no_such_field"]),
        ("models promote mine best", ["attn models promote with a name or path, a name or path"]),
        ("predict a.jpg --model best --probability 0.3", ["--probability"]),
        ("submit pipeline gain", ["attn submit with pipeline, a recipe"]),
    ],
)
def test_words_without_a_page(line: str, missing: list[str]) -> None:
    assert undocumented(shlex.split(line)) == missing


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("ls gain", "unexpected extra argument"),
        ("train gain --cpu-profile", "No such option"),
        ("trane gain", "No such command"),
    ],
)
def test_words_that_the_command_line_does_not_take(line: str, fault: str) -> None:
    with pytest.raises(Exception, match=fault):
        undocumented(shlex.split(line))


def test_a_file_of_attn_init_shows_the_fields_that_it_has_in_comments(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text(
        "# Starts from gain.\n# Next:  attn train my.yaml\nrecipe: gain\n\ndata:\n  source: folder   # a layout\n"
        "  # # Names: in order\n  # classes: null\n\n# training:\n#   # Passes\n#   epochs: 8   # of all\n"
    )
    assert fields_of_file(tmp_path / "my.yaml") == {
        "recipe", "data", "data.source", "data.classes", "training", "training.epochs",
    }  # fmt: skip
    assert not undocumented(["train", "my.yaml", "training.batch_size=3"], {"training.batch_size"})


def test_fields_of_a_document() -> None:
    assert list(dotted({"a": {"b": 1}, "c": [1]})) == ["a", "a.b", "c"]
