"""Describes what a submission will run and use, as JSON values."""

from __future__ import annotations

__all__ = ["choices", "cores_of", "plan_of", "what_of"]

import contextlib
from typing import Any

from attn.data.source_cache import SourceCache
from attn.errors import DataError
from attn.maps.refine import RefinementConfig
from attn.runs.composed import ComposedConfig
from attn.runs.sweep.load import LoadedSweep, trial_config
from attn.segmentation.labels import CueLabels
from attn.training.run_config import RunConfig
from attn.training.supervision import class_counts, supervised_images
from attn.training.train_config import TrainConfig
from attn.wording import counted
from jobs.ray_cluster.capacity import cluster_capacity
from jobs.ray_cluster.session import uses_gpus
from jobs.sweeps.estimate import run_estimate, sweep_estimate
from jobs.sweeps.plan import make_plan
from services.admission import admit
from services.permissions import Permissions
from services.submission import Submission


def plan_of(submission: Submission, permissions: Permissions) -> dict[str, Any]:
    """Describe what a submission will run; for a sweep, its data are read.

    Raises:
        ConfigError: As `admit`.
    """
    loaded = admit(submission, permissions)
    plan = {"kind": submission.kind, "target": submission.target, "root": permissions.root}
    return plan if loaded is None else plan | what_of(loaded)


def cores_of(loaded: Any) -> int | None:
    """Cores of this machine that a run needs if it runs here; None if it takes all of them.

    Only a training on CPUs can need fewer, and where its config says how many threads its workers have.

    Args:
        loaded: As for `what_of`.
    """
    if not isinstance(loaded, RunConfig) or loaded.cluster.threads is None:
        return None
    machine = cluster_capacity()
    return None if uses_gpus(loaded.cluster, machine.machines) else loaded.cluster.most_workers * loaded.cluster.threads


def what_of(loaded: Any) -> dict[str, Any]:
    """Describe a run.

    Args:
        loaded: A run's config; for a sweep, its config and the text of its base.
    """
    if isinstance(loaded, LoadedSweep):
        config, base = loaded
        objective = f"{config.objective.mode} {config.objective.metric}"
        plan = {"title": trial_config(base, {}).title, "trials": config.trials, "search": config.search.variant}
        plan |= {"scheduler": config.scheduler.variant, "objective": objective}
        with contextlib.suppress(DataError):  # the data need not exist on the service's machine
            sweep = make_plan(config, base)
            plan |= sweep.to_json() | {"time": sweep_estimate(config, base, sweep).to_json()}
        return plan
    if isinstance(loaded, ComposedConfig):
        sections, stages = loaded.sections(), dict[str, dict[str, Any]]()
        for name, section in loaded.stages().items():
            described = _training(sections[section])
            stages[name] = described if name == section else {"data": described.get("data")}
            stages[name] |= choices(name, sections[section])
        return {"title": loaded.title, **({"stages": stages} if stages else {})}
    return {
        "title": loaded.title,
        **_training(loaded),
        **choices("cues", loaded),
        "time": run_estimate(loaded).to_json(),
    }


def choices(stage: str, config: Any) -> dict[str, Any]:
    """What a stage's maps and cues depend on."""
    if stage == "cues" and isinstance(labels := getattr(config, "labels", None), CueLabels):
        fixed = labels.threshold == "fixed"
        threshold = f"{labels.rule.foreground:g}" if fixed else labels.threshold
        return {"cues": f"rule {labels.rule.variant}, saliency {labels.saliency}, threshold {threshold}"}
    if stage == "cues" and isinstance(config, TrainConfig):
        return _supervision(config)
    refine = config if isinstance(config, RefinementConfig) else getattr(config, "refine", None)
    return {"refine": refine.variant} if isinstance(refine, RefinementConfig) else {}


def _supervision(config: TrainConfig) -> dict[str, Any]:
    """The images with masks or boxes of a training, by class; nothing where the data cannot be read here."""
    if (wanted := config.method.build().supervision) is None:
        return {}
    with contextlib.suppress(DataError):
        source = SourceCache().get(config.data)
        images = supervised_images(source, wanted, config.seed)
        return {wanted.kind: f"{counted(len(images), 'image')}: {class_counts(source, images)}"}
    return {}


def _training(config: Any) -> dict[str, Any]:
    if not hasattr(config, "data"):  # it works on what the stage before it has left
        return {}
    data = {"data": f"{config.data.variant} {config.data.split}"}
    if not isinstance(config, RunConfig):
        return data
    return {
        "epochs": config.training.epochs,
        "steps": config.training.steps,
        "batch_size": config.training.batch_size,
        "workers": config.cluster.workers,
        "device": config.cluster.device,
        **data,
    }
