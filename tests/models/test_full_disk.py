"""A disk that refuses while PyTorch writes is told in the disk's words, and ends no process."""

from __future__ import annotations

import contextlib
import errno
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from attn.files.tensors import save_tensors
from attn.models.bundle import load_bundle, write_bundle
from attn.prediction.export import ExportError, export_model
from attn.training.checkpoint import Position, save_checkpoint
from tests.bundles import tiny_bundle

LARGE = {"weight": torch.zeros(300_000)}


@contextlib.contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """Within, no file of this process may grow beyond so many bytes, as on a disk with that much room."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


WRITERS: dict[str, Callable[[Path], None]] = {
    "tensors": lambda folder: save_tensors(LARGE, folder / "x.pt"),
    "bundle": lambda folder: write_bundle(folder, LARGE, "classification", {}, {}, ""),
    "checkpoint": lambda folder: save_checkpoint(folder, Position(0, 0, 0), LARGE, {}, 0, 1),
}


@pytest.mark.parametrize("size", [0, 1000, 1_200_000])
@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS.keys())
def test_what_the_disk_says_is_told(tmp_path: Path, write: Callable[[Path], None], size: int) -> None:
    with files_up_to(size), pytest.raises(OSError) as refused:
        write(tmp_path)
    assert refused.value.errno == errno.EFBIG
    assert not (tmp_path / "model.json").exists()


def test_an_exported_program_is_refused_in_words(tmp_path: Path) -> None:
    model = load_bundle(tiny_bundle(tmp_path / "model"))
    with files_up_to(1000), pytest.raises(ExportError, match=r"m\.pt2 cannot be written: File too large"):
        export_model(model, tmp_path / "m.pt2", "torch_export")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_folder_that_is_gone_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        save_tensors(LARGE, tmp_path / "absent" / "x.pt")
