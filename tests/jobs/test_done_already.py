"""A run that is done is resumed: nothing runs again, and nothing is registered again."""

from __future__ import annotations

from pathlib import Path

import pytest

from attn import progress, registry
from attn.config.resolve import dump_config
from attn.runs.config_reader import read_config
from attn.runs.recipes import load_any_config
from attn.runs.sweep.load import read_sweep, trial_config
from jobs.resume import resume
from jobs.runs.run_folder import RunFolder
from jobs.sweeps import results
from jobs.sweeps.trial_folder import trial_folder

SWEEP = """
kind: sweep
recipe: scenes_gain
space: {optimizer.lr: [0.01, 0.02]}
search: {name: grid}
objective: {metric: val/loss, mode: min}
tracking: {register_as: swept, alias: champion}
"""


def done_sweep(root: Path) -> None:
    config, base = read_sweep(SWEEP, "sweep.yaml", [f"root={root}"])
    folder = RunFolder(str(root), "s")
    folder.write("sweep.yaml", dump_config(config.model_copy(update={"recipe": "base.yaml"})))
    folder.write("base.yaml", base)
    folder.update(kind="sweep", state="done", seconds=9.0, registered="models:/swept/1")
    for number, lr in enumerate((0.01, 0.02)):
        trial, values = trial_folder(folder, number), {"optimizer.lr": lr}
        trial.write("config.yaml", dump_config(trial_config(base, values)))
        trial.update(kind="train", state="done", number=number, values=values, metrics={"val/loss": lr}, epoch=1,
                     model=trial.path("model"), tracking_run="0" * 32)  # fmt: skip


def done_training(recipe: str, root: Path) -> None:
    config = load_any_config(recipe, [f"root={root}", "tracking.register_as=swept", "tracking.alias=champion"])
    folder = RunFolder(str(root), "s")
    folder.write("config.yaml", dump_config(config))
    assert read_config(folder.read_text("config.yaml"), "config.yaml").kind == config.kind
    folder.update(kind=config.kind, state="done", seconds=9.0, model=folder.path("model"))


@pytest.mark.parametrize("kind", ["sweep", "train", "segment"])
def test_nothing_is_registered_again(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[object] = []
    for module in (results, registry):
        monkeypatch.setattr(module, "log_model", lambda *given, **named: calls.append(given))
    if kind == "sweep":
        done_sweep(tmp_path)
    else:
        done_training({"train": "scenes_gain", "segment": "segment_scenes"}[kind], tmp_path)
    with progress.shown():
        result = resume("s", root=str(tmp_path))
    assert calls == []
    assert "s is done already: nothing is run again" in capsys.readouterr().err
    assert result.to_json()["seconds"] == 9.0
    if kind == "sweep":
        assert result.to_json()["registered"] == "models:/swept/1"
