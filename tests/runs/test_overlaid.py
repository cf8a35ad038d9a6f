"""`recipe=X` on the command line, for a recipe or file that lies over nearly all of X."""

from __future__ import annotations

from pathlib import Path

import pytest

from attn.notices import print_once
from attn.runs.recipes import load_run


def test_a_recipe_below_one_that_sets_nearly_all_of_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What counts of the lower one is what the other lacks; a short file has none of this."""
    monkeypatch.chdir(tmp_path)
    print_once.cache_clear()
    config = load_run("scenes_gain", "train", ["recipe=scenes_oaa"])
    assert (config.method.name, config.model.head, config.store.accumulate) == ("gain", "conv", True)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("note: recipe=scenes_oaa lies below recipe scenes_gain, which sets ")
    assert line.endswith("To run scenes_oaa, name it in the place of recipe scenes_gain")
    assert "itself: only model.head, model.head_convolutions, model.head_width, store.accumulate of it count" in line
    load_run("scenes_gain", "train", ["recipe=scenes_grad_cam"])
    assert "nothing of it counts" in capsys.readouterr().err
    Path("short.yaml").write_text("data: {count: 100}\n")
    load_run("short.yaml", "train", ["recipe=scenes_gain"])
    load_run("scenes_gain", "train", ["training.epochs=3"])
    assert capsys.readouterr().err == ""
