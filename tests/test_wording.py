"""Texts of others within messages are cut between two words."""

from __future__ import annotations

import pytest

from attn.errors import TrackingError
from attn.tracking.mlflow_client import mlflow_errors
from attn.wording import counted, shorten


@pytest.mark.parametrize(
    ("text", "most", "expected"),
    [
        ("one two", 7, "one two"),
        ("one two", 6, "one ..."),
        ("one two three", 7, "one two ..."),
        ("one\n two\tthree", 8, "one two ..."),
        ("onetwothree", 4, "onet ..."),
        ("", 4, ""),
    ],
)
def test_shortened(text: str, most: int, expected: str) -> None:
    assert shorten(text, most) == expected


def test_what_a_tracking_server_says_is_cut_between_words() -> None:
    from mlflow.exceptions import MlflowException

    said = " ".join(f"reason{number}" for number in range(200))
    with pytest.raises(TrackingError) as caught, mlflow_errors("http://user:secret@127.0.0.1:9", "logging"):
        raise MlflowException(said)
    shown = str(caught.value).partition("logging failed: ")[2].partition(" ....")[0]
    assert set(shown.split()) <= set(said.split())
    assert 200 < len(shown) <= 300
    assert "secret" not in str(caught.value)


def test_one_thing_is_singular() -> None:
    assert [counted(number, "image") for number in (0, 1, 2)] == ["0 images", "1 image", "2 images"]
    assert [counted(number, "class", "classes") for number in (1, 0)] == ["1 class", "0 classes"]
