"""Trained models on disk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from attn.data.transforms import InputConfig
from attn.errors import WeightsError
from attn.models.bundle import find_bundle, load_bundle, save_bundle
from attn.models.network import ModelConfig
from tests.bundles import tiny_bundle


@pytest.mark.parametrize("layer", ["last", "inner"])
def test_a_bundle_knows_the_layer_that_was_trained(tmp_path: Path, layer: str) -> None:
    model = ModelConfig(name="tiny", weights=None)
    save_bundle(
        tmp_path,
        model.build(2).state_dict(),
        model=model,
        classes=("a", "b"),
        input=InputConfig(size=32),
        map_kind="grad_cam",
        layers=(),
        config_yaml="",
        info={},
        layer=layer,
    )
    bundle = load_bundle(tmp_path)
    assert bundle.layer == layer
    with torch.no_grad():
        assert layer in bundle.network(torch.zeros(1, 3, 32, 32)).features
    description = json.loads((tmp_path / "model.json").read_text())
    del description["layer"]
    (tmp_path / "model.json").write_text(json.dumps(description))
    assert load_bundle(tmp_path).layer == "last", "models from before the field"


def test_what_a_name_without_a_model_may_mean(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    for name in ("voc-gain", "all-train-1a", "all-segment-2b", "sweep-1/sweep-1-0000", "sweep-1/sweep-1-0001"):
        tiny_bundle(runs / name / "model")
    for name in ("stopped", "all", "sweep-1"):
        (runs / name).mkdir(exist_ok=True)
        (runs / name / "run.json").write_text(json.dumps({"id": name, "state": "failed"}))
    for number, state in enumerate(("done", "done", "stopped", "waiting", "running")):
        trial = runs / "sweep-1" / f"sweep-1-{number:04d}"
        tiny_bundle(trial / "model")
        (trial / "run.json").write_text(json.dumps({"id": trial.name, "state": state, "number": number}))
    for given, said in {
        "voc-gian": r"run's id or folder \(did you mean voc-gain\?\)$",
        "stopped": r"run's id or folder; that run is failed$",
        "all": r"that run is failed \(did you mean all-segment-2b or all-train-1a\?\)$",
        "sweep-1": r"failed \(did you mean sweep-1/sweep-1-0000 or sweep-1/sweep-1-0001\?\)$",
        "zzz": r"run's id or folder$",
    }.items():
        for target in (given, str(runs / given)):
            with pytest.raises(WeightsError, match=said):
                find_bundle(target, str(runs))


def test_the_model_of_a_trial_is_found_by_the_trials_id(tmp_path: Path) -> None:
    model = tmp_path / "s" / "s-0001" / "model"
    model.mkdir(parents=True)
    (model / "model.json").write_text("{}")
    assert find_bundle("s-0001", str(tmp_path)) == find_bundle("s/s-0001", str(tmp_path)) == model
