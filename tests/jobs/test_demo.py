"""The demo goes from overrides to its table and picture; networks are untrained, no Ray is started."""

from __future__ import annotations

import contextlib
from pathlib import Path

import cv2
import pytest

from jobs import demo
from tests.jobs.test_pipeline import untrained


def test_one_table_and_one_picture_of_all_methods(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    untrained(monkeypatch)
    monkeypatch.setattr(demo, "ray_session", contextlib.nullcontext)
    monkeypatch.setattr(demo, "METHODS", {name: demo.METHODS[name] for name in ("Grad-CAM", "GAIN")})
    overrides = [
        f"root={tmp_path}", "data.count=8", "evaluation.data.count=8", "tracking.enabled=false",
        "train.store.accumulate=false", "integral.training.epochs=1",
    ]  # fmt: skip
    result = demo.main(overrides)
    assert {"seed_miou", "cue_miou", "miou", "miou_crf"} <= set(result.scores["GAIN"])
    assert cv2.imread(result.picture) is not None
    message = capsys.readouterr().out
    assert all(word in message for word in ("GAIN", "mIoU", "mlflow ui"))
