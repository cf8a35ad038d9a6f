"""Where the CRF's package cannot be installed, whatever asks for a CRF is refused, and all else works."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import attn
from attn.config.resolve import resolve
from attn.errors import ConfigError
from attn.health import inspect_node, judge
from attn.maps.dense_crf import OAA_CRF, CrfError, dense_crf
from attn.prediction import ImagePredictConfig, open_predictor
from attn.runs.evaluate import EvaluateModelConfig
from attn.runs.recipes import recipe_text
from attn.segmentation.config import SegmentConfig
from tests.bundles import tiny_bundle


@pytest.fixture(autouse=True)
def no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydensecrf", None)
    monkeypatch.setitem(sys.modules, "pydensecrf.densecrf", None)
    monkeypatch.setattr("attn.maps.dense_crf.AFTER_LAST_PYTHON", (9, 9))  # as where it can be installed


def segmenter(recipe: str, *overrides: str) -> SegmentConfig:
    return resolve(SegmentConfig, *recipe_text(recipe), list(overrides))


def test_configs_that_ask_for_one_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert segmenter("segment_scenes").inference.crf is None
    with pytest.raises(ConfigError) as caught:
        segmenter("sec")
    assert [fault.message.split(",")[0] for fault in caught.value.faults] == [
        f"{field} needs the package pydensecrf2" for field in ("method.crf", "inference.crf")
    ]
    assert all("pip install pydensecrf2" in fault.hint for fault in caught.value.faults)
    with pytest.raises(ConfigError, match=r"maps\.refine\.crf needs the package pydensecrf2"):
        resolve(EvaluateModelConfig, "maps: {refine: {name: crf}}", "x", ["data.source=scenes"])
    monkeypatch.setattr("attn.maps.dense_crf.AFTER_LAST_PYTHON", sys.version_info[:2])
    with pytest.raises(ConfigError, match=r"pydensecrf2, which does not compile on Python 3\.\d+ .*use Python 3.11 or"):
        segmenter("segment_scenes", "inference.crf={}")


def test_what_runs_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(CrfError, match=r"^a dense CRF needs the package pydensecrf2, .*: do without it, or run"):
        dense_crf(np.zeros((4, 4, 3), np.uint8), np.full((2, 4, 4), 0.5), OAA_CRF)
    model = str(tiny_bundle(tmp_path / "model"))
    with pytest.raises(CrfError, match=r"crf=True needs the package pydensecrf2, .*--no-crf"):
        open_predictor(model, ImagePredictConfig(crf=True))
    assert attn.open_model(model).predict(np.zeros((32, 32, 3), np.uint8)).probabilities


def test_doctor_fails_only_where_it_could_be_installed(tmp_path: Path) -> None:
    facts = inspect_node(str(tmp_path))
    assert re.match("a dense CRF needs the package pydensecrf2", str(facts.crf))

    def status(python: str) -> Any:
        return {one.check: one.status for one in judge(replace(facts, python=python))}["crf"]

    assert [status(python) for python in ("3.11.7", "3.12.1", "3.13.0", "3.14.2")] == ["fail", "fail", "warn", "warn"]
