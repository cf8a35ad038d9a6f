"""The table of kinds of runs: what `kind` may be in a recipe or a file, how that is read, and what runs it.

A new kind of run is one line in `KINDS` and one file, with its config and its functions. Importing the table imports
nothing of what it names, so that the command line starts fast.
"""

from __future__ import annotations

__all__ = ["KINDS", "Job", "Kind", "job_of"]

import importlib
from dataclasses import dataclass
from typing import Any, Protocol, cast


@dataclass(frozen=True)
class Kind:
    """A kind of run.

    Attributes:
        config: Its config's class, as `module:name`: a `RunConfig` or an `attn.runs.composed.ComposedConfig`.
        job: The module that runs it, with the functions of `Job`.
        summary: What its command does, in a sentence.
        read: The function that reads a file of it, as `module:name`, where its class alone does not.
        trains: It trains one network.
        searched: A sweep may search over its fields.
    """

    config: str
    job: str
    summary: str
    read: str | None = None
    trains: bool = False
    searched: bool = True


KINDS: dict[str, Kind] = {
    "train": Kind(
        "attn.training.train_config:TrainConfig",
        "jobs.train",
        "Train a network; all that the run makes is in its folder.",
        trains=True,
    ),
    "segment": Kind(
        "attn.segmentation.config:SegmentConfig",
        "jobs.segment",
        "Train a segmentation network; all that the run makes is in its folder.",
        trains=True,
    ),
    "pipeline": Kind(
        "attn.runs.pipeline:PipelineConfig",
        "jobs.pipeline",
        "Train, make maps, cues and a segmentation network, and score it; what is done already is not done again.",
        read="attn.runs.pipeline:read_pipeline",
    ),
    "sweep": Kind(
        "attn.runs.sweep.config:SweepConfig",
        "jobs.sweep",
        "Run a sweep; its trials, table, plots and best config are in its folder.",
        read="attn.runs.sweep.load:read_sweep",
        searched=False,
    ),
}
"""By the word that is `kind` in a file, which is also the name of the command."""


class Job(Protocol):
    """A module that runs a kind."""

    def run(self, config: Any, *, run_id: str | None = None, address: str | None = None) -> dict[str, Any]:
        """Run a config to its end; a trial of a sweep has its folder already, with this config.

        `run.json` gets the scores as `metrics`, by which a sweep goes.

        Returns:
            `run_id`, `folder` and, of what a sweep searches and is no training, `scores` and `model`.
        """
        ...

    def resume(self, run: str, *, root: str = "runs", address: str | None = None) -> dict[str, Any]:
        """Continue a run, named by its id under the root or by its folder."""
        ...


def job_of(kind: str) -> Job:
    """The module that runs a kind."""
    return cast("Job", importlib.import_module(KINDS[kind].job))
