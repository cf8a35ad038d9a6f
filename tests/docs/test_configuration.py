"""The reference of configuration fields is current, complete, and says what pydantic says."""

from __future__ import annotations

from pathlib import Path

import pytest

from attn.config.field_docs import descriptions
from docs.commands import config_tree, configuration


@pytest.mark.parametrize("page", config_tree.PAGES)
def test_the_reference_of_fields_is_current(page: str) -> None:
    written = (configuration.FOLDER / page).read_text(encoding="utf-8")
    assert written == configuration.pages()[page], "run `python -m docs.commands.configuration`"


def test_a_field_of_the_reference_is_what_pydantic_says(repository: Path) -> None:
    """A row by hand, of each kind that there is: bounds, a choice, a path, a section, a family."""
    text = (repository / "docs/reference/configuration/training.md").read_text(encoding="utf-8")
    for row in (
        "| `epochs` | whole number | `10` | ≥ 1, ≤ 1,000,000 |",
        "| `precision` | `float32`, `bfloat16`, `float16` | `float32` |  |",
        "| `root` | path or `s3://` URI | `runs` |  |",
        "| `validation` | [validation](#validation) | its defaults |  |",
        "| `schedule` | [constant](#schedule-nameconstant), [cosine](#schedule-namecosine), ",
    ):
        assert f"\n{row}" in text, row
    methods = (repository / "docs/reference/configuration/methods.md").read_text(encoding="utf-8")
    assert "\n| `iou_last` | number | `1.0` | ≥ 0 | Weights of the soft IoU of target map" in methods, "of two names"


def test_every_field_is_described() -> None:
    bare = [
        f"{section.config.__module__}.{section.config.__name__}: {name}"
        for section in config_tree.sections().values()
        for name, text in descriptions(section.config).items()
        if not text
    ]
    assert not bare, "say what it is under `Attributes:` of the class:\n" + "\n".join(bare)
