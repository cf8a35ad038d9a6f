"""The notebook is executed in this process, with tiny settings: it needs nothing of Jupyter's."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest

import attn
from attn.pictures.layout import Picture

NOTEBOOK = Path(__file__).resolve().parent.parent.parent / "docs" / "notebooks" / "from_photographs_to_masks.ipynb"
SETTINGS = re.compile(r"^COUNT, SIZE, EPOCHS, WARM_UP, MASK_EPOCHS = .*$", re.MULTILINE)
TINY = "COUNT, SIZE, EPOCHS, WARM_UP, MASK_EPOCHS = 16, 32, 2, 1, 1"


def cells() -> list[tuple[str, dict[str, Any]]]:
    """Text and fields of the code cells."""
    read = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    return [("".join(cell["source"]), cell) for cell in read["cells"] if cell["cell_type"] == "code"]


def execute(text: str, names: dict[str, Any]) -> Any:
    """Run a cell; gives the value of its last line if that is an expression, as a notebook shows it."""
    body = ast.parse(text).body
    last = ast.Expression(body.pop().value) if isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, []), str(NOTEBOOK), "exec"), names)
    return None if last is None else eval(compile(last, str(NOTEBOOK), "eval"), names)


def test_it_goes_from_images_to_masks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "notebook"}
    shown = [execute(SETTINGS.sub(TINY, text), names) for text, _ in cells()]
    pictures = [value for value in shown if isinstance(value, Picture)]
    assert len(pictures) == 2, "of the classifier and of the segmentation network"
    assert all(picture._repr_png_().startswith(b"\x89PNG") for picture in pictures)
    printed = capsys.readouterr().out
    assert "16 images of boat" in printed
    for whose in ("maps'", "network's"):
        assert re.search(rf"mIoU of the {whose} masks: \d+\.\d %", printed)
    for name, task in (("classifier", "classification"), ("segmenter", "segmentation")):
        assert attn.open_model(tmp_path / "from_photographs_to_masks" / name).task == task


def test_it_is_kept_without_outputs_and_with_one_cell_of_settings() -> None:
    texts = cells()
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for _, cell in texts)
    assert SETTINGS.search(texts[0][0])
    assert texts[0][0].startswith("PHOTOGRAPHS = None")
