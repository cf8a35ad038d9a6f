"""A run of any kind in a process of its own, by the command line, stopped where its work begins.

Training is done in the process, and Ray is not started: what these tests look at is how a run begins and ends.
"""

from __future__ import annotations

__all__ = ["CASES", "continue_it", "run_it"]

import contextlib
import importlib
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from attn.errors import DataError
from jobs import compare, cues, evaluate, maps, pipeline, segment_predict, sweep, train
from jobs.ray_cluster.progress import Channel
from jobs.sweeps.trial_folder import trial_folder
from services.cli.main import app
from tests.jobs.here import fit_here

FAULT = "image 7 is broken"
KEPT = (compare, cues, evaluate, maps, segment_predict)  # imported before the processes of the tests are forked


@dataclass(frozen=True)
class Case:
    """A kind of run.

    Attributes:
        command: Its words, with `{root}` for the root.
        work: The function in which it is stopped, as `module:name`.
    """

    command: str
    work: str


CASES = {
    "train": Case("train {root}/train.yaml", "jobs.train:_fit"),
    "segment": Case("segment train {root}/segment.yaml", "jobs.train:_fit"),
    "pipeline": Case("pipeline {root}/pipeline.yaml", "jobs.pipeline:_Pipeline.run"),
    "sweep": Case("sweep run {root}/sweep.yaml", "jobs.sweep:_Sweep.tune"),
    "evaluate": Case("evaluate {root}/classifier evaluation.maps=false panels=0", "jobs.evaluate:_evaluate"),
    "maps": Case("maps {root}/classifier", "jobs.maps:write_maps"),
    "masks": Case("segment predict {root}/segmenter panels=0", "jobs.segment_predict:predict_masks"),
    "cues": Case("segment cues {root}/segment.yaml", "jobs.cues:make_cues"),
    "compare": Case("compare {root}/classifier panels=1", "jobs.compare:_panels"),
}


def run_it(kind: str, root: str, uri: str, output: str, channel: Connection, how: str) -> None:
    """Run a kind by its command; `how` is `done`, `fault`, or `wait` for a signal within its work."""

    def work(real: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        channel.send("working")
        if how == "fault":
            channel.recv()
            raise DataError(FAULT)
        while how == "wait":
            time.sleep(0.01)
        return real(*arguments, **named)

    words = CASES[kind].command.format(root=root).split()
    _command(
        [*words, "--run-id", "r", f"root={root}", "tracking.enabled=true", f"tracking.uri={uri}"], output, kind, work
    )


def continue_it(kind: str, root: str, output: str) -> None:
    """Continue the run by `attn resume`."""
    _command(["resume", "r", "--root", root], output, kind, lambda real, *arguments, **named: real(*arguments, **named))


def _command(words: list[str], output: str, kind: str, work: Callable[..., Any]) -> None:
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    # What a shell starts in the background has Ctrl-C ignored, and the tests may be started so.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _stand_in(kind, work)
    sys.argv = ["attn", *words]
    app(words)


def _stand_in(kind: str, work: Callable[..., Any]) -> None:
    for module in (train, pipeline, sweep):
        module.ray_session = lambda *_, **__: contextlib.nullcontext()
    train.follow = lambda *_, **__: contextlib.nullcontext()
    Channel.mark_under_way = lambda channel: None
    train._fit = fit_here
    sweep._Sweep.tune = _tune
    module, _, name = CASES[kind].work.partition(":")
    holder: Any = importlib.import_module(module)
    *outer, name = name.split(".")
    for part in outer:
        holder = getattr(holder, part)
    real = getattr(holder, name)
    setattr(holder, name, lambda *arguments, **named: work(real, *arguments, **named))


def _tune(of: Any, plan: Any, reported: Any) -> None:
    """In the place of Ray Tune: each trial is done at once."""
    for number in of.left:
        folder = trial_folder(of.folder, number)
        values = of.suggestions.point(number)
        folder.update(
            kind="train", state="done", number=number, values=values, metrics={"train/loss": 0.5}, seconds=1.0
        )
        Path(folder.path("config.yaml")).write_text(of.base)
