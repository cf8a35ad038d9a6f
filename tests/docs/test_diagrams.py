"""The diagrams are current."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from docs.commands import diagrams
from tests.test_repository import FLOORS


@pytest.mark.parametrize("name", diagrams.diagrams())
def test_a_diagram_is_current(name: str) -> None:
    written = (diagrams.FOLDER / name).read_text(encoding="utf-8")
    assert written == diagrams.diagrams()[name], "run `python -m docs.commands.diagrams`"


def test_the_floors_show_every_room() -> None:
    shown = {text.text for text in ElementTree.fromstring(diagrams.floors()).iter("{http://www.w3.org/2000/svg}text")}
    for rooms in FLOORS:
        for room in rooms:
            assert room.partition(".")[2] in shown or f"all other modules of {room}" in shown, room
