"""The diagrams are current, and pictures can be read."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

from docs.commands import diagrams
from tests.test_repository import LAYERS


@pytest.mark.parametrize("name", diagrams.diagrams())
def test_a_diagram_is_current(name: str) -> None:
    written = (diagrams.FOLDER / name).read_text(encoding="utf-8")
    assert written == diagrams.diagrams()[name], "run `python -m docs.commands.diagrams`"


def test_the_layers_show_every_package() -> None:
    shown = {text.text for text in ElementTree.fromstring(diagrams.layers()).iter("{http://www.w3.org/2000/svg}text")}
    for packages in LAYERS:
        for package in packages:
            assert package.partition(".")[2] in shown or f"all other modules of {package}" in shown, package


def test_every_picture_is_shown_at_a_size_that_can_be_read(repository: Path) -> None:
    """A code host shows some 850 pixels: a wider picture is shrunk, and its captions with it."""
    text = "".join(
        page.read_text(encoding="utf-8") for page in (*repository.glob("*.md"), *repository.glob("docs/*.md"))
    )
    for path in sorted((repository / "docs/images").iterdir()):
        assert f"images/{path.name})" in text, f"no page shows {path.name}"
        if path.suffix == ".png":
            assert Image.open(path).width <= 930, path.name
