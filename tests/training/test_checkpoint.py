"""Checkpoints: everything comes back, and nothing that is not whole is loaded."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from attn.errors import WeightsError
from attn.training.checkpoint import Position, load_checkpoint, save_checkpoint
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


def test_random_states_survive_a_file_without_pickle(tmp_path: Path) -> None:
    seed_everything(5, 1, deterministic=False)
    torch.save(random_state(), tmp_path / "state.pt")

    def draw() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), float(torch.rand(()))

    expected = draw()
    draw()
    restore_random_state(torch.load(tmp_path / "state.pt", weights_only=True))
    assert draw() == expected
