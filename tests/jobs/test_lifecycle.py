"""Every kind of run, however it ends: its folder, its record and its exit status say the same, and why."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from attn import store
from attn.data.sources.generated import ScenesConfig
from attn.runs.config_reader import read_config
from attn.runs.table import KINDS, build_components
from jobs.runs.run_folder import RunFolder
from jobs.training.hooks import TrainingRun, hooks_of
from tests.bundles import tiny_bundle
from tests.forks import forking
from tests.jobs.lifecycles import CASES, FAULT, continue_it, run_it
from tests.tracking.stand_in import StandIn

DATA = "data: {source: scenes, split: train, count: 6, size: 48}"
MODEL = "model: {name: tiny, weights: null, stride: 4, widths: [8, 8, 8]"
TRAIN = f"""
kind: train
{DATA}
input: {{size: 32}}
{MODEL}}}
method: {{name: grad_cam}}
training: {{epochs: 1, batch_size: 2}}
validation: {{split: null}}
cluster: {{workers: 1}}
tracking: {{preview_images: 0}}
"""
SEGMENT = f"""
kind: segment
{DATA}
input: {{size: 32}}
labels: {{source: cues, maps: {{source: store, uri: ROOT/maps}}}}
{MODEL}, hidden: 8}}
method: {{name: cross_entropy}}
inference: {{crf: null}}
training: {{epochs: 1, batch_size: 2}}
validation: {{split: null}}
cluster: {{workers: 1}}
tracking: {{preview_images: 0}}
"""
PIPELINE = f"""
kind: pipeline
{DATA}
cluster: {{workers: 1}}
tracking: {{preview_images: 0}}
train:
  input: {{size: 32}}
  {MODEL}}}
  method: {{name: grad_cam}}
  training: {{epochs: 1, batch_size: 2}}
  validation: {{split: null}}
segment:
  input: {{size: 32}}
  {MODEL}, hidden: 8}}
  method: {{name: cross_entropy}}
  inference: {{crf: null}}
  training: {{epochs: 1, batch_size: 2}}
evaluation: {{data: {{count: 4}}, panels: 0}}
"""
SWEEP = """
kind: sweep
recipe: ROOT/train.yaml
space: {optimizer.lr: [0.01, 0.02]}
search: {name: grid}
objective: {metric: train/loss, mode: min}
scheduler: {name: fifo}
"""
SECONDS = 60.0
PRELOADED = (
    "tests.jobs.lifecycles", "mlflow", "sklearn.metrics", "sqlalchemy", "sympy", "matplotlib.figure",
    "PIL.JpegImagePlugin", "attn.tracking.buffered_tracker", "attn.registry.mlflow_registry",
    "attn.registry.mlflow_model", "jobs.resume", "jobs.training.classifier", "mlflow.pytorch",
    "mlflow.tracking.request_header.registry",
)  # fmt: skip
"""What the commands import: once, and not in each of their processes."""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with configs, models that are as initialised, and a map store."""
    root = tmp_path_factory.mktemp("lifecycle")
    for name, text in (("train", TRAIN), ("segment", SEGMENT), ("pipeline", PIPELINE), ("sweep", SWEEP)):
        (root / f"{name}.yaml").write_text(text.replace("ROOT", str(root)))
    tiny_bundle(root / "classifier")
    source = ScenesConfig(count=6, size=48).build()
    rows = [(record.image_id, label) for record in source.records for label in record.labels]
    maps = store.create(str(root / "maps"), rows=rows, grid=(8, 8), classes=source.classes)
    session = maps.begin("test")
    writer = session.writer(0)
    for image_id, label in rows:
        writer.add(image_id, label, torch.rand(8, 8).numpy())
    session.publish(session.commit(1, [writer.seal()]))
    config = read_config((root / "segment.yaml").read_text(), "segment.yaml", [f"root={root}"])
    shared = {"model": build_components(config, rank=0, world=1).network.state_dict()}
    folder = RunFolder(str(root), "untrained")
    folder.write("config.yaml", (root / "segment.yaml").read_text())
    hooks_of(config).save(TrainingRun(config, folder), shared, root / "segmenter")
    return root


class Started:
    """A run in its process.

    Attributes:
        root: Its root: a copy's, so that all runs can have one id.
    """

    def __init__(self, kind: str, prepared: Path, root: Path, server: StandIn, how: str) -> None:
        self.kind, self.root, self.server = kind, root, server
        for location in prepared.iterdir():
            (root / location.name).symlink_to(location)
        context = forking(*PRELOADED)
        self.channel, theirs = context.Pipe()
        arguments = (kind, str(root), server.uri, str(root / "output"), theirs, how)
        self.process = context.Process(target=run_it, args=arguments)
        self.process.start()
        theirs.close()

    def wait_for_work(self) -> None:
        try:
            assert self.channel.poll(SECONDS), f"{self.kind} has not begun its work"
            self.channel.recv()
        except EOFError:
            pytest.fail(f"{self.kind} ended before its work: {self.output}")

    def end(self) -> int:
        self.process.join(SECONDS)
        assert self.process.exitcode is not None, self.output
        return self.process.exitcode

    @property
    def output(self) -> str:
        return (self.root / "output").read_text()

    @property
    def state(self) -> dict[str, Any]:
        return json.loads((self.root / "r" / "run.json").read_text())


@pytest.fixture
def server() -> Iterator[StandIn]:
    server = StandIn()
    server.start()
    yield server
    server.stop()


def test_every_kind_is_tried() -> None:
    assert set(CASES) == set(KINDS)


@pytest.mark.parametrize("kind", CASES)
def test_a_run_that_is_done(kind: str, prepared: Path, tmp_path: Path, server: StandIn) -> None:
    run = Started(kind, prepared, tmp_path, server, "done")
    assert run.end() == 0, run.output
    state = run.state
    assert (state["kind"], state["state"], state.get("error")) == (kind, "done", None)
    assert state["ended"] >= state["started"]
    assert state["seconds"] >= 0
    assert server.ends[-1]["status"] == "FINISHED"
    assert {"config.yaml", "origin.json"} <= {path.name for path in (tmp_path / "r").iterdir()}


@pytest.mark.parametrize("away", [False, True], ids=["", "MLflow is away"])
@pytest.mark.parametrize("kind", CASES)
def test_a_fault(kind: str, away: bool, prepared: Path, tmp_path: Path, server: StandIn) -> None:
    run = Started(kind, prepared, tmp_path, server, "fault")
    run.wait_for_work()
    if away:
        server.stop()
    run.channel.send("go on")
    assert run.end() == 1, run.output
    state = run.state
    assert (state["state"], state["error"]) == ("failed", FAULT)
    assert state["ended"] >= state["started"]
    assert run.output.rstrip().endswith(f"error: {FAULT}"), run.output
    assert "Traceback" not in run.output
    if not away:
        assert server.ends[-1]["status"] == "FAILED"
        return
    assert server.ends == []
    assert "attn resume" in run.output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("kind", CASES)
def test_a_signal(kind: str, number: int, prepared: Path, tmp_path: Path, server: StandIn) -> None:
    run = Started(kind, prepared, tmp_path, server, "wait")
    run.wait_for_work()
    assert run.state["state"] == "running"
    os.kill(run.process.pid or 0, number)
    assert run.end() == 3, run.output
    assert run.state["state"] == "cancelled"
    assert "Traceback" not in run.output
    assert server.ends[-1]["status"] == "KILLED"


@pytest.mark.parametrize("kind", CASES)
def test_a_killed_run_is_continued(kind: str, prepared: Path, tmp_path: Path, server: StandIn) -> None:
    run = Started(kind, prepared, tmp_path, server, "wait")
    run.wait_for_work()
    os.kill(run.process.pid or 0, signal.SIGKILL)
    assert run.end() == -signal.SIGKILL
    assert run.state["state"] == "running"
    again = forking(*PRELOADED).Process(target=continue_it, args=(kind, str(tmp_path), str(tmp_path / "output")))
    again.start()
    again.join(SECONDS)
    assert again.exitcode == 0, run.output
    assert (run.state["kind"], run.state["state"]) == (kind, "done")
    (end,) = run.state["attempt_ends"]
    assert (end["attempt"], end["cause"]) == (1, "lost")
    assert end["error"].startswith(f"process {run.process.pid} of ")
    assert server.ends[-1]["status"] == "FINISHED"
    if kind not in ("pipeline", "sweep"):  # whose stages and trials have records of their own
        assert server.requests["/api/2.0/mlflow/runs/create"] == 1, "a run has one record"
