"""The table of kinds of runs: the config of each, the module that runs it, and who offers it.

A new kind of run is one line in `KINDS` and one file. Importing the table imports none of the modules that it names, so
that the command line starts fast.
"""

from __future__ import annotations

__all__ = [
    "KINDS",
    "Job",
    "RunKind",
    "TargetJob",
    "build_components",
    "file_kinds",
    "job_of",
    "service_kinds",
    "target_job_of",
]

import importlib
import pkgutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

if TYPE_CHECKING:
    from attn.data.source_cache import SourceCache
    from attn.runs.result import RunResult
    from attn.training.components import TrainingComponents
    from attn.training.run_config import RunConfig


@dataclass(frozen=True)
class RunKind:
    """A kind of run.

    Attributes:
        job: The module that runs it, with the functions of `Job`.
        summary: The help text of its command, a sentence.
        config: Class of the config in its files, as `module:name`: a `RunConfig` or an
            `attn.runs.composed.ComposedConfig`. None: there are no files of this kind. It works on a model or a map
            store, and an interrupted run is done again from its beginning.
        resolve: The function that makes a config of a file's `attn.runs.layers.Layers`, as `module:name`, where the
            class alone does not suffice.
        build: Of a kind that trains one network: the function that builds its `TrainingComponents`, as `module:name`.
        training: Of a kind that trains one network: a module with the functions of
            `jobs.training.hooks.TrainingHooks`.
        searchable: A sweep may search over its fields.
        command: Words of its command, where they are not its name.
        target_configs: Of a kind without files that the service runs: classes of its config, as `module:name`; a
            submission must fit one of them. The service does not run a kind that has neither `config` nor this.
        writes_scores: Its runs score a model or a map store, and leave the scores in `scores.json`.
        longest_id: Maximum length of a run's id.
    """

    job: str
    summary: str
    config: str | None = None
    resolve: str | None = None
    build: str | None = None
    training: str | None = None
    searchable: bool = True
    command: str | None = None
    target_configs: tuple[str, ...] = ()
    writes_scores: bool = False
    longest_id: int = 100


KINDS: dict[str, RunKind] = {
    "train": RunKind(
        "jobs.train",
        "Train a classifier; results are in the run's folder.",
        config="attn.training.train_config:TrainConfig",
        build="attn.training.classifier:build_components",
        training="jobs.training.classifier",
    ),
    "segment": RunKind(
        "jobs.segment",
        "Train a segmentation network; results are in the run's folder.",
        config="attn.segmentation.config:SegmentConfig",
        build="attn.segmentation.components:build_components",
        training="jobs.training.segmenter",
    ),
    "pipeline": RunKind(
        "jobs.pipeline",
        "Train a classifier, make maps and cues, train and score a segmentation network; finished stages are reused.",
        config="attn.runs.pipeline:PipelineConfig",
        resolve="attn.runs.pipeline:resolve_pipeline",
        longest_id=60,  # its stages append to it
    ),
    "sweep": RunKind(
        "jobs.sweep",
        "Run a sweep; its folder gets the trials, a table, plots and the best config.",
        config="attn.runs.sweep.config:SweepConfig",
        resolve="attn.runs.sweep.load:resolve_sweep",
        searchable=False,
    ),
    "evaluate": RunKind(
        "jobs.evaluate",
        "Score a trained model and its maps, or the maps of a map store, on any data.",
        target_configs=("attn.runs.evaluate:EvaluateModelConfig", "attn.runs.evaluate:EvaluateStoreConfig"),
        writes_scores=True,
    ),
    "maps": RunKind(
        "jobs.maps",
        "Write a trained model's attention maps for any data, to a map store or as PNGs (output.kind=png); or refine "
        "those of a map store.",
        target_configs=("attn.runs.maps:MapsConfig", "attn.runs.maps:StoredMapsConfig"),
    ),
    "masks": RunKind(
        "jobs.segment_predict",
        "Predict masks for any data with a trained segmentation network, and score them.",
        command="segment predict",
        writes_scores=True,
    ),
    "cues": RunKind(
        "jobs.cues",
        "Make the cues that a recipe's network would learn from, and score them.",
        command="segment cues",
    ),
    "compare": RunKind(
        "jobs.compare",
        "Draw the attention maps of several models on the same images, one row per model, beside the ground truth.",
    ),
}
"""By name: the `kind` in a file and in `run.json`, and the command where `command` gives no other."""


class Job(Protocol):
    """A module that runs a kind."""

    def run(self, work: Any, /, *, run_id: str | None = None, address: str | None = None) -> RunResult:
        """Run a config to its end; a trial of a sweep has its folder already, with this config.

        Args:
            work: Of a kind with files its config, as `attn.runs.recipes.load_run` returns it; else what the module's
                `load` returns.

        `run.json` gets the scores as `metrics`, which a sweep reads, and other results of a new kind under `outputs`.

        Returns:
            Of a `ComposedConfig` a `ComposedResult`.
        """
        ...

    def resume(self, run: str, /, *, root: str = "runs", address: str | None = None) -> RunResult:
        """Continue a run, named by its id under the root or by its folder."""
        ...


class TargetJob(Job, Protocol):
    """A module that runs a kind without files."""

    def load(self, target: Any, overrides: list[str], /) -> Any:
        """Open what the run works on, for `run`.

        Args:
            target: A name that the user gives, of a model, a map store or a recipe; `compare` takes several, by title.
            overrides: `a.b=value`.

        Raises:
            AttnError: There is no such thing, or the overrides do not fit it.
        """
        ...


def file_kinds() -> list[str]:
    """The kinds that a recipe or a file may be of."""
    return [name for name, kind in KINDS.items() if kind.config is not None]


def service_kinds() -> list[str]:
    """The kinds that a service runs."""
    return [name for name, kind in KINDS.items() if kind.config or kind.target_configs]


def job_of(kind: str) -> Job:
    """The module that runs a kind."""
    return cast("Job", importlib.import_module(KINDS[kind].job))


def target_job_of(kind: str) -> TargetJob:
    """The module that runs a kind without files."""
    assert KINDS[kind].config is None, f"{kind} has files"
    return cast("TargetJob", importlib.import_module(KINDS[kind].job))


def build_components(
    config: RunConfig, *, rank: int, world: int, sources: SourceCache | None = None
) -> TrainingComponents:
    """Build a worker's data, network and method; the initial weights are the same on every rank.

    Args:
        sources: Holds the data sets that this process has built already.

    Raises:
        AttnError: Data, weights or their combination do not fit; says which.
    """
    build = KINDS[config.kind].build
    assert build is not None, "a kind with a RunConfig trains"
    return pkgutil.resolve_name(build)(config, rank=rank, world=world, sources=sources)
