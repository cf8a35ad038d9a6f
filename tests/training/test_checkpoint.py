"""Checkpoints: everything comes back, and nothing that is not whole is loaded."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from attn.errors import WeightsError
from attn.training.checkpoint import Position, load_checkpoint, save_checkpoint, write_manifest
from attn.training.randomness import random_state, restore_random_state, seed_everything


def write(folder: Path, world: int = 2) -> dict[str, torch.Tensor]:
    folder.mkdir(exist_ok=True)
    weights = {"w": torch.arange(6.0).reshape(2, 3)}
    for rank in range(world):
        save_checkpoint(folder, Position(3, 4, 25), {"model": weights}, {"random": {"rank": rank}}, rank, world)
    return weights


def test_comes_back_on_every_rank(tmp_path: Path) -> None:
    weights = write(tmp_path)
    for rank in range(2):
        position, shared, own = load_checkpoint(tmp_path, rank, 2)
        assert position == Position(3, 4, 25)
        assert torch.equal(shared["model"]["w"], weights["w"])
        assert own == {"random": {"rank": rank}}


def test_another_number_of_workers_gets_the_weights_without_random_states(tmp_path: Path) -> None:
    write(tmp_path)
    assert load_checkpoint(tmp_path, 2, 3)[2] is None


@pytest.mark.parametrize("name", ["training.pt", "rank-00000.pt"])
def test_a_flipped_bit_is_found(tmp_path: Path, name: str) -> None:
    write(tmp_path)
    data = bytearray((tmp_path / name).read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / name).write_bytes(data)
    with pytest.raises(WeightsError, match=f"{name} is damaged"):
        load_checkpoint(tmp_path, 0, 2)


@pytest.mark.parametrize("name", ["training.pt", "rank-00001.pt", "manifest-00001.json"])
def test_a_lost_or_truncated_file_is_found(tmp_path: Path, name: str) -> None:
    write(tmp_path)
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[:10])
    with pytest.raises(WeightsError, match="damaged|not written to its end"):
        load_checkpoint(tmp_path, 1, 2)
    path.unlink()
    with pytest.raises(WeightsError, match="missing|not written to its end"):
        load_checkpoint(tmp_path, 1, 2)


def test_an_empty_folder_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="not written to its end"):
        load_checkpoint(tmp_path, 0, 1)


def _manifest(folder: Path, files: dict[str, Any]) -> None:
    (folder / "manifest-00000.json").write_text(json.dumps({"files": files}))


@pytest.mark.parametrize(
    "manifest",
    ["[]", "5", "{}", '{"files": []}', '{"files": {"training.pt": 5}}', '{"files": {"training.pt": {}}}', "[" * 100_000,
     '{"files": ' + "[" * 500 + "]" * 500 + "}"],
    ids=lambda text: text[:40],
)  # fmt: skip
def test_a_manifest_that_is_none_is_one_error(tmp_path: Path, manifest: str) -> None:
    write(tmp_path)
    (tmp_path / "manifest-00000.json").write_text(manifest)
    with pytest.raises(WeightsError, match="not written to its end"):
        load_checkpoint(tmp_path, 0, 2)


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/b", "", ".."])
def test_a_manifest_lists_files_of_its_folder_and_all_that_is_read(tmp_path: Path, name: str) -> None:
    write(tmp_path)
    _manifest(tmp_path, {})
    with pytest.raises(WeightsError, match=r"does not list rank-00000\.pt"):
        load_checkpoint(tmp_path, 0, 2)
    entry = {"bytes": 1, "sha256": ""}
    _manifest(tmp_path, {name: entry, "rank-00000.pt": entry, "training.pt": entry})
    with pytest.raises(WeightsError, match="which is no file's name"):
        load_checkpoint(tmp_path, 0, 2)


class _Runs:
    def __reduce__(self) -> Any:
        return os.mkdir, ("ran",)


POSITION = {"epoch": 1, "batch": 0, "step": 1}
SHARED = {"position": POSITION, "world": 1, "model": {"w": torch.zeros(1)}}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (_Runs(), "holds something else than tensors"),
        ([1], "holds something else than tensors"),
        ({1: 2}, "holds something else than tensors"),
        ({}, "does not say where in the run"),
        (SHARED | {"position": [1, 2, 3]}, "does not say where in the run"),
        (SHARED | {"position": POSITION | {"more": 1}}, "does not say where in the run"),
        (SHARED | {"position": POSITION | {"epoch": -1}}, "does not say where in the run"),
        (SHARED | {"position": POSITION | {"epoch": 0.5}}, "does not say where in the run"),
        (SHARED | {"world": "1"}, "does not say where in the run"),
        (SHARED | {"model": [1]}, "holds no weights"),
        (SHARED | {"model": {"w": 1}}, "holds no weights"),
    ],
)
def test_a_checkpoint_that_somebody_made_is_one_error_and_runs_nothing(
    tmp_path: Path, content: Any, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "c"
    write(folder, 1)
    torch.save(content, folder / "training.pt")
    (folder / "manifest-00000.json").unlink()
    write_manifest(folder, 0)
    with pytest.raises(WeightsError, match=problem):
        load_checkpoint(folder, 0, 1)
    assert not (tmp_path / "ran").exists()


def test_random_states_survive_a_file_without_pickle(tmp_path: Path) -> None:
    seed_everything(5, 1, deterministic=False)
    torch.save(random_state(), tmp_path / "state.pt")

    def draw() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), float(torch.rand(()))

    expected = draw()
    draw()
    restore_random_state(torch.load(tmp_path / "state.pt", weights_only=True))
    assert draw() == expected
