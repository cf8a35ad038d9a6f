"""The command line starts fast because it imports nothing heavy before a command runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HEAVY = ("torch", "torchvision", "ray", "mlflow", "pydantic", "numpy", "fastapi", "boto3", "rich", "yaml")


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_importing_the_program_imports_nothing_heavy() -> None:
    code = "import sys, services.cli.main; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    assert not set(HEAVY) & set(run(code).split())


def test_help_and_usage_errors_import_nothing_heavy() -> None:
    for arguments in (["--help"], ["train", "--help"], ["trian"], ["recipes", "--help"]):
        code = f"""
import sys
from services.cli.main import main
sys.argv[1:] = {arguments!r}
try:
    main()
except SystemExit:
    print(*sorted({{name.partition('.')[0] for name in sys.modules}}))
"""
        loaded = set(run(code).splitlines()[-1].split())
        assert not set(HEAVY) & loaded - {
            "pydantic"
        }  # which Typer itself looks for when it reads a command's arguments


def test_a_config_is_read_and_trained_by_without_what_only_some_trainings_need(tmp_path: Path) -> None:
    code = f"""
import sys, jobs.train, attn.tracking.mlflow_tracker
from pathlib import Path
from types import SimpleNamespace
from attn.runs.recipes import load_config
from attn.runs.table import build_components
from attn.training.train_config import TrainConfig
from attn.training.trainer import Trainer
from attn.training.world import World
from jobs.training.hooks import TrainingRun, hooks_of
from jobs.runs.run_folder import RunFolder
overrides = ["data.count=8", "data.size=32", "input.size=32", "training.epochs=1", "training.batch_size=8"]
config = load_config(TrainConfig, "scenes_gain", overrides)
run = TrainingRun(config, RunFolder({str(tmp_path)!r}, "x"))
hooks_of(config).validate(run)
reporter = SimpleNamespace(
    step=lambda record: None,
    cancelled=lambda: False,
    epoch=lambda record, trainer: None,
    checkpoint=lambda position, metrics, write: write(Path({str(tmp_path)!r})),
)
components = build_components(config, rank=0, world=1, sources=run.sources)
assert Trainer(config, World.current(), components).fit(reporter)["train/loss"] > 0
print(*sorted({{name.partition('.')[0] for name in sys.modules}}), "torch._dynamo" in sys.modules)
"""
    loaded = set(run(code).split())
    assert {"torch", "False"} <= loaded
    assert not {"torchvision", "sympy", "mlflow", "ray", "boto3", "fastapi"} & loaded
    assert (tmp_path / "training.pt").exists()
