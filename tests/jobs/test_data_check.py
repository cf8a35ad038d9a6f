"""A data set that several processes check has the faults that one finds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from attn.data.check import check_config
from attn.data.sources.folder import FolderConfig
from jobs import data_check
from jobs.data_check import SharedCheck


@pytest.mark.slow
def test_several_processes_find_the_same(tmp_path: Path, ray_up: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_check, "CHUNK", 2)
    generator = np.random.default_rng(0)
    for name in ("cat", "dog"):
        folder = tmp_path / "train" / name
        folder.mkdir(parents=True)
        for number in range(3):
            Image.fromarray(generator.integers(0, 256, (8, 9, 3), np.uint8)).save(folder / f"{name}{number}.png")
    (tmp_path / "train/cat/cat1.png").write_bytes(b"no image")
    (tmp_path / "train/dog/dog2.png").write_bytes((tmp_path / "train/cat/cat0.png").read_bytes())
    config = FolderConfig(root=str(tmp_path))
    shared = check_config(config, images=SharedCheck(None, 2))
    assert shared == check_config(config)
    assert [(one.kind, one.image_id) for one in shared.findings] == [("image", "cat/cat1"), ("duplicate", "dog/dog2")]
