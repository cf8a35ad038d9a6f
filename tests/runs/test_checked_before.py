"""What is wrong with a network by config and weights file alone is said before data is read or a process is started."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from attn.errors import ConfigError
from attn.models.network import ModelConfig
from attn.runs.config_notices import config_notices, missing_files
from attn.runs.recipes import load_any_run
from attn.training.inputs import check_inputs
from jobs.sweep import run as run_sweep
from services.cli.main import main

TINY = {"name": "tiny", "widths": [8, 8, 8], "weights": None}
PIPELINE = "gain_segment_scenes"
SWEEP = "sweep_scenes_gain"
FROZEN = "99, but "
MANY = json.dumps([f"class {number}" for number in range(255)])


@pytest.fixture
def checkpoint(tmp_path: Path) -> str:
    """A checkpoint of another program: its state dict lies within."""
    torch.save({"state_dict": {"weight": torch.zeros(1)}, "epoch": 3}, tmp_path / "checkpoint.pt")
    return str(tmp_path / "checkpoint.pt")


@pytest.mark.parametrize(
    ("recipe", "override", "field", "message"),
    [
        ("scenes_gain", "model.freeze_stages=99", "model.freeze_stages", FROZEN),
        ("scenes_gain", "method.layer=stage9", "method.layer", "has no layer 'stage9'"),
        ("segment_scenes", "model.freeze_stages=99", "model.freeze_stages", FROZEN),
        ("segment_scenes", f"data.classes={MANY}", "data.classes", "255 classes are more than a mask can have"),
        (PIPELINE, "train.model.freeze_stages=99", "train.model.freeze_stages", FROZEN),
        (PIPELINE, "segment.model.freeze_stages=99", "segment.model.freeze_stages", FROZEN),
        (SWEEP, "set.model.freeze_stages=99", "model.freeze_stages", FROZEN),
        (SWEEP, "space={model.freeze_stages: [0, 99]}", "space", FROZEN),
    ],
)
def test_stages_layers_and_classes_that_a_network_lacks(recipe: str, override: str, field: str, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        check_inputs(load_any_run(recipe, [override]))
    (fault,) = refused.value.faults
    assert message in fault.message
    assert fault.where.startswith(field) or field in str(fault)


@pytest.mark.parametrize(
    ("recipe", "field"),
    [
        ("scenes_gain", "model.weights"),
        ("segment_scenes", "model.weights"),
        (PIPELINE, "train.model.weights"),
        (SWEEP, "set.model.weights"),
    ],
)
def test_a_weights_file_that_is_no_state_dict(recipe: str, field: str, checkpoint: str) -> None:
    loaded = load_any_run(recipe, [f"{field}={checkpoint}"])
    (fault,) = missing_files(loaded)
    assert fault.where == field.removeprefix("set.")
    assert "is not a state dict (names to tensors) but contains the keys state_dict, epoch" in fault.message
    assert any(text.startswith(str(fault)) for text in config_notices(loaded))


def test_weights_of_another_network_and_of_this_one(tmp_path: Path) -> None:
    config = ModelConfig.model_validate(TINY)
    torch.save(config.build(7).state_dict(), tmp_path / "own.pt")
    fitting = config.model_copy(update={"weights": str(tmp_path / "own.pt")})
    assert list(fitting.missing_files()) == []
    other = fitting.model_copy(update={"widths": (8, 8, 16)})
    (fault,) = other.missing_files("train.model.")
    assert fault.where == "train.model.weights"
    assert "does not fit the network" in fault.message


def test_a_sweep_is_refused_before_it_has_a_folder(tmp_path: Path, checkpoint: str) -> None:
    searched = f"space={{model.weights: [null, {checkpoint}]}}"
    loaded = load_any_run(SWEEP, [searched, f"root={tmp_path}/runs"])
    with pytest.raises(ConfigError, match="is not a state dict"):
        run_sweep(loaded)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("command", ["plan", "validate", "train"])
def test_commands_refuse_alike(command: str, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setattr("sys.argv", ["attn", command, "scenes_gain", "model.freeze_stages=99", "data.count=4"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "model.freeze_stages: 99, but" in capsys.readouterr().err
