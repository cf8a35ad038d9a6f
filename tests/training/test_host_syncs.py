"""No training step makes the host wait for the device, except for a CRF that runs on the host."""

from __future__ import annotations

from pathlib import Path

import pytest

from attn.methods import MethodConfig
from attn.segmentation.methods import SegmentationMethodConfig
from benchmarks.host_syncs import CASES, count_waits

CRF = {"sec": 1, "dsrg": 1}
"""The CRF starts from the network's probabilities, which its processes on the CPU need."""


@pytest.mark.parametrize("name", CASES)
def test_a_step_waits_for_nothing(name: str, tmp_path: Path) -> None:
    waits = count_waits(name, tmp_path)
    assert waits.total() == CRF.get(name, 0), "\n".join(map(str, waits))


def test_accumulated_and_clipped_steps_wait_for_nothing(tmp_path: Path) -> None:
    assert not count_waits("gain", tmp_path, "training.accumulate_steps=2", "training.clip_norm=1.0")


def test_every_method_is_counted() -> None:
    assert {*MethodConfig.members, *SegmentationMethodConfig.members} <= {name.partition(",")[0] for name in CASES}
