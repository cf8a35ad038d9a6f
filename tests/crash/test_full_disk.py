"""A disk that is full: the run stops with one error that names the file and the reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from attn.errors import RunError
from attn.runs.recipes import load_config
from attn.training.train_config import TrainConfig
from jobs.train import run

pytestmark = pytest.mark.usefixtures("ray_up")
ALONE = ["cluster.workers=1", "tracking.enabled=false"]


def test_a_full_disk_stops_the_run(small_disk: Path, quick: list[str]) -> None:
    config = load_config(TrainConfig, "scenes_gain", [*quick, *ALONE, f"root={small_disk}"])
    with pytest.raises(RunError, match=r"checkpoint epoch-0001.* could not be written to .*No space left on device"):
        run(config, run_id="full")
