"""Images that are found in folders beside earlier results, and in deep ones."""

from __future__ import annotations

import inspect
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from attn.prediction.images import find_images
from tests.services.cli.conftest import attn as attn  # the command line as a function


def test_images_beside_and_below_earlier_results_are_found(tmp_path: Path) -> None:
    """`attn predict photos/cat.jpg --out photos` makes photos/cat a folder of results."""
    for name in ("cat.jpg", "cat/prediction.json", "cat/panel.png", "cat/mask.png", "cat/map-03-cat.png",
                 "cat/1.jpg", "cat/map-of-town.png", "cat/more/2.jpg", "dog/mask.png"):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [one.image_id for one in find_images([str(tmp_path)]).values()]
    assert found == ["cat", "cat/1", "cat/map-of-town", "cat/more/2", "dog/mask"]


def test_folders_may_lie_deep(tmp_path: Path) -> None:
    (tmp_path / "0.png").touch()
    deep = tmp_path
    for _ in range(200):
        deep /= "d"
        os.mkdir(deep)
    (deep / "1.png").touch()
    usual = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 150)
    try:
        found = find_images([str(tmp_path)])
    finally:
        sys.setrecursionlimit(usual)
    (deep / "1.png").unlink()
    os.removedirs(deep)  # pytest's own removal would be too deep
    assert [one.image_id for one in found.values()] == ["0", "d/" * 200 + "1"]


@pytest.mark.parametrize("table", ["summary.csv", "classes.csv"])
def test_no_image_has_the_folder_of_a_table(tmp_path: Path, table: str) -> None:
    (tmp_path / f"{table}.png").write_bytes(b"")
    assert list(find_images([str(tmp_path / f"{table}.png")])) == [f"{table}-2"]


def test_a_file_that_is_not_there_is_one_error_with_the_nearest(attn: Any, tmp_path: Path) -> None:
    (tmp_path / "there.jpg").touch()
    out = tmp_path / "out"
    done = attn("predict", f"{tmp_path}/ther.jpg", "--model", "any", "--out", str(out))
    assert (done.status, f"ther.jpg: there is no such file; did you mean {tmp_path}/there.jpg?" in done.err) == (
        1,
        True,
    )
    done = attn("predict", f"{tmp_path}/there.jpg", f"{tmp_path}/zzzz.png", "--model", "any", "--out", str(out))
    assert (done.status, done.err.count("there is no such file"), "did you mean" in done.err) == (1, 1, False)
    assert not out.exists()
