"""Reading a sweep's file: its own faults, its base's, and those of the fields and values that it searches, at once."""

from __future__ import annotations

__all__ = [
    "LoadedSweep",
    "TrialConfig",
    "in_one_process",
    "load_sweep",
    "point_overrides",
    "read_sweep",
    "read_trial",
    "resolve_sweep",
    "sweep_config",
    "trial_config",
]

import difflib
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from attn.config.base import Config
from attn.config.document import (
    BASE,
    SOURCE,
    Document,
    PlacedOverride,
    override_location,
    override_of,
    parse_override,
    read_document,
    text_name,
)
from attn.config.resolve import drop_other_members, dump_config, override, parse_config, rank_in, resolve_document
from attn.errors import ConfigError, Fault
from attn.notices import renamed
from attn.runs.composed import ComposedConfig
from attn.runs.config_reader import require_kind, resolve_run
from attn.runs.layers import DATA, RECIPE, Layers, read_layers
from attn.runs.recipes import load_run
from attn.runs.sweep.config import Asha, Objective, Pbt, SweepConfig
from attn.runs.sweep.figures import BEST_EPOCH, differs_after, figure_fault
from attn.runs.sweep.sections import (
    SET,
    SPACE,
    flatten,
    hand_on_data,
    over_one_another,
    split_names,
    valid_dimensions,
    valid_objective,
)
from attn.runs.sweep.space import Dimension, Point
from attn.runs.table import KINDS, file_kinds
from attn.runs.texts import RECIPES_ONLY, Texts
from attn.score_names import current_name
from attn.segmentation.config import SegmentConfig
from attn.training.inputs import check_inputs
from attn.training.run_config import RunConfig

TrialConfig = RunConfig | ComposedConfig


class LoadedSweep(NamedTuple):
    """A sweep's config, and the resolved config of the run that it searches, as text."""

    config: SweepConfig
    base: str


RANGE = frozenset({"choices", "low", "high", "log", "integer", "count"})
HANDED_ON = ("model.", "data.", "method.name", "method.losses", "optimizer.name", "training.epochs", "training.steps")
"""Fields that trials of population-based training share: weights, optimizer and position in the training."""
MAY_DIFFER = ("model.fc_dropout", "model.batch_norm")


def load_sweep(target: str, overrides: list[str]) -> LoadedSweep:
    """The sweep of a recipe or file, with all that it searches checked.

    Args:
        target: A recipe's name or a YAML file.
        overrides: `a.b=value`, over the sweep's own fields; `set.training.epochs=4` changes one of all trials, and
            `data.root=x` is short for `set.data.root=x`.

    Raises:
        ConfigError: With all faults of the sweep, of the run that it searches and of every searched value.
    """
    return load_run(target, "sweep", overrides)


def read_sweep(text: str, name: str, overrides: list[str] | None = None, *, texts: Texts = RECIPES_ONLY) -> LoadedSweep:
    """As `load_sweep`, of a text; `texts` finds what it names."""
    return resolve_sweep(read_layers(text, name, overrides or [], texts))


def resolve_sweep(layers: Layers) -> LoadedSweep:
    """As `load_sweep`, of texts that are read already."""
    for document in layers.documents:
        split_names(document, SET)
        hand_on_data(document)
    document, rank = over_one_another(layers.documents), rank_in(layers.documents)
    override(document, [_handed_on(text) for text in layers.overrides])
    drop_other_members(SweepConfig, document, rank)
    flatten(document, SET, lambda value: not isinstance(value, dict))
    flatten(document, SPACE, lambda value: not isinstance(value, dict) or bool(RANGE & value.keys()))
    if isinstance(space := document.values.get(SPACE), dict):
        document.values[SPACE] = {
            key: {"choices": value} if isinstance(value, list) else value for key, value in space.items()
        }
    _announce_former_metric(document)
    config: SweepConfig | None = None
    faults: list[Fault] = []
    try:
        config = parse_config(SweepConfig, document)
    except ConfigError as error:
        faults = error.faults
    base = _base(document, faults, layers, rank)
    if base is not None:
        trial = trial_config(base, {})
        faults = _with_set(faults, layers.overrides, trial)
        space = config.space if config else valid_dimensions(document)
        faults += [fault for fault in trial.input_faults() if fault.where not in space]
        trials = {"": trial} | _trials(document, base, space, faults)
        if config is None:
            faults += filter(None, [_without_figure(document, valid_objective(document), trials)])
            raise ConfigError(faults)
        sweep_faults = [check(document, config, trial) for check in (_without_epochs, _all_equal, _not_handed_on)]
        faults += filter(None, (*sweep_faults, _without_figure(document, config.objective, trials)))
    if faults or config is None or base is None:
        raise ConfigError(faults)
    return LoadedSweep(config, base)


def _trials(
    document: Document, base: str, space: Mapping[str, Dimension], faults: list[Fault]
) -> dict[str, TrialConfig]:
    """A trial for each end of what is searched, by words for it; the faults of those that cannot be are added."""
    trials: dict[str, TrialConfig] = {}
    for key, dimension in space.items():
        for value in dimension.ends():
            try:
                tried = trial_config(base, {key: value})
                check_inputs(tried)
                trials[f"{key} = {json.dumps(value)}: "] = tried
            except ConfigError as error:
                faults += [_of_value(document, key, value, fault) for fault in error.faults if fault not in faults]
                break
    return trials


def sweep_config(text: str, name: str) -> SweepConfig:
    """The config in the folder of a sweep that has begun, also of one that version 0.1 began.

    Raises:
        ConfigError: With all faults.
    """
    document = read_document(text, name)
    if "base" in document.values:
        document.set((RECIPE,), document.values["base"], document.location(("base",)))
        document.drop(("base",))
    return resolve_document(SweepConfig, [document], [])


def trial_config(base: str, point: Mapping[str, Any], *more: str) -> TrialConfig:
    """A trial's config: the base with a point's values.

    Raises:
        ConfigError: The values do not go together.
    """
    return _resolve_trial(Layers((_base_document(base),), [*point_overrides(point), *more], RECIPES_ONLY))


@functools.lru_cache(maxsize=4)
def _base_document(base: str) -> Document:
    """The document of a base, parsed once for all trials."""
    return read_document(base, BASE)


def read_trial(text: str, name: str, overrides: list[str] | None = None, *, texts: Texts = RECIPES_ONLY) -> TrialConfig:
    """The config of a training or of a pipeline.

    Raises:
        ConfigError: With all faults; or the text is of another kind.
    """
    return _resolve_trial(read_layers(text, name, overrides or [], texts))


def _resolve_trial(layers: Layers) -> TrialConfig:
    searched = [kind for kind in file_kinds() if KINDS[kind].searchable]
    require_kind(layers.whole, searched, "a sweep searches over a training or a pipeline")
    return resolve_run(layers)


def in_one_process(config: TrialConfig) -> bool:
    """Return whether a trial trains in the trial's own process: with one worker, and without a second round."""
    if isinstance(config, ComposedConfig):
        return False
    second = isinstance(config, SegmentConfig) and config.retrain is not None
    return config.cluster.most_workers == 1 and not second


def point_overrides(point: Mapping[str, Any]) -> list[str]:
    """A point as `a.b=value`."""
    return [override_of(name, value) for name, value in point.items()]


def _announce_former_metric(document: Document) -> None:
    """Say what an objective of an earlier version is called now; the config itself takes both."""
    section = document.values.get("objective")
    metric = section.get("metric") if isinstance(section, dict) else None
    if isinstance(metric, str) and (now := current_name(metric)) != metric:
        renamed(f"objective.metric={metric}", f"objective.metric={now}")


def _base(document: Document, faults: list[Fault], layers: Layers, rank: Callable[[str], int]) -> str | None:
    """The resolved run that is searched; its faults are added."""
    target, changes = document.values.get(RECIPE), document.values.get(SET) or {}
    if not isinstance(target, str) or not isinstance(changes, dict):
        return None
    location = document.location((RECIPE,))
    try:
        result = Layers(layers.searched, [], layers.texts)
        if not layers.searched:
            result = read_layers(*layers.texts.recipe(target, text_name(location)), [], layers.texts)
    except ConfigError as error:
        faults += [Fault(location, f"{RECIPE} = {fault.where} {fault.message}", fault.hint) for fault in error.faults]
        return None
    changes = _of_chosen_sources(document, changes, result.whole.values, rank)
    try:
        return dump_config(_resolve_trial(result._replace(overrides=point_overrides(changes))))
    except ConfigError as error:
        places = {override_location(point_overrides({key: value})[0]): key for key, value in changes.items()}
        faults += _placed(document, error.faults, places)
        wrong = {places[fault.where] for fault in error.faults if fault.where in places}
    # The searched fields, and what depends on several fields, can be held against the others all the same.
    kept = {key: value for key, value in changes.items() if key not in wrong}
    for rest in (kept, {}) if wrong else ({},):
        try:
            return dump_config(_resolve_trial(result._replace(overrides=point_overrides(rest))))
        except ConfigError as error:
            if rest:
                known = {fault.message for fault in faults}
                faults += _placed(document, [one for one in error.faults if one.message not in known], places)
    return None


def _placed(document: Document, faults: Sequence[Fault], places: Mapping[str, str]) -> list[Fault]:
    """The faults of a run with what a sweep sets, at the places in the sweep's own texts.

    Args:
        places: The names of the fields that the sweep sets, by the location of each as an override.
    """
    results: list[Fault] = []
    for fault in faults:
        where = fault.where
        for as_override, key in places.items():
            where = where.replace(as_override, document.location((SET, key)))
        results.append(Fault(where, fault.message, fault.hint))
    return results


def _with_set(faults: list[Fault], overrides: Sequence[str], trial: TrialConfig) -> list[Fault]:
    """The faults; an override of a field that only the trials have says how to give it."""
    meant: dict[str, str] = {}
    for text in overrides:
        result = parse_override(text)
        if not isinstance(result, Fault):
            section = result[0][0]
            if section not in SweepConfig.model_fields and section in type(trial).model_fields:
                meant[override_location(text)] = _in_set(result[0], trial)
    return [Fault(one.where, one.message, meant.get(one.where, one.hint)) for one in faults]


def _in_set(path: Sequence[str], trial: TrialConfig) -> str:
    """A hint that names the field of the trials that is nearest to what was given.

    Args:
        path: Names of a section of the trials and of what lies in it, which need not be there.
    """
    value: Any = trial
    known: list[str] = []
    for at, name in enumerate(path):
        if not isinstance(value, Config):  # a table, or a value that is null
            known += path[at:]
            break
        fields = type(value).model_fields
        near = [name] if name in fields else difflib.get_close_matches(name, fields, n=1, cutoff=0.5)
        if not near:
            section = ".".join(known)
            return f"the trials' {section} has {', '.join(fields)}: change one by {SET}.{section}.NAME=VALUE"
        known.append(near[0])
        value = getattr(value, near[0])
    return f"did you mean {SET}.{'.'.join(known)}? It changes the field of all trials"


def _of_chosen_sources(
    document: Document, changes: dict[str, Any], base: dict[str, Any], rank: Callable[[str], int]
) -> dict[str, Any]:
    """The changes without those of a data source that a text or override above has replaced by another one."""
    kept = dict(changes)
    for key, value in changes.items():
        chosen, former = rank(document.location((SET, key))), base
        for step in key.split("."):
            former = former.get(step) if isinstance(former, dict) else None
        if key.rpartition(".")[2] != SOURCE or former == value:
            continue
        beside = key.removesuffix(SOURCE)
        kept = {
            name: one
            for name, one in kept.items()
            if rank(document.location((SET, name))) >= chosen or not name.startswith(beside)
        }
    return kept


def _without_epochs(document: Document, config: SweepConfig, trial: TrialConfig) -> Fault | None:
    """Return the fault of a scheduler that compares epochs, if the trials have workers of their own."""
    if in_one_process(trial):
        return None
    location = document.location(("scheduler",))
    if isinstance(trial, ComposedConfig):
        name = config.scheduler.variant
        return None if name == "fifo" else Fault(
            location, f"scheduler.name={name} looks at a trial's epochs, and a {trial.kind} has its scores at its end",
            "scheduler.name=fifo",
        )  # fmt: skip
    if isinstance(config.scheduler, Pbt):
        return Fault(location, "scheduler.name=pbt hands weights from trial to trial, which trials with workers of "
                     "their own do not take", "set.cluster.workers=1, and no second round")  # fmt: skip
    if isinstance(config.scheduler, Asha) and not config.objective.of_epoch:
        return Fault(location, "scheduler.name=asha compares trials by their epochs, but with workers of their own "
                     f"{config.objective.metric} is taken once, at their end",
                     "set.cluster.workers=1, or a figure of the epoch: objective.metric=val/mean_ap")  # fmt: skip
    return None


def _without_figure(document: Document, objective: Objective | None, trials: Mapping[str, TrialConfig]) -> Fault | None:
    """An objective that some of the trials do not report, or that is the better the other way round.

    Args:
        objective: None if it has faults of its own.
    """
    if objective is None:
        return None
    for values, trial in trials.items():
        if fault := figure_fault(objective.metric, objective.mode, trial):
            field = "mode" if fault[0].startswith("objective.mode") else "metric"
            return Fault(document.location(("objective", field)), f"{values}{fault[0]}", fault[1])
    return None


def _all_equal(document: Document, config: SweepConfig, trial: TrialConfig) -> Fault | None:
    """Trials that a scheduler would compare before they differ, or that never do."""
    names, first = ", ".join(config.space), differs_after(trial, config.space, config.objective.metric)
    why = "during method.warmup_epochs the network trains without what is searched"
    if BEST_EPOCH in config.space:
        why = f"{BEST_EPOCH} decides at a trial's end which epoch its score is of"
    if first is None:
        late = any(name.startswith("method.") for name in config.space)
        after = ", or set method.warmup_epochs below training.epochs: a warm-up trains without the fields of the method"
        return Fault(document.location(("space",)), "all trials would be equal: nothing that is scored depends on "
                     f"{names}",
                     f"search other fields{after if late else ''}")  # fmt: skip
    if isinstance(config.scheduler, Asha) and (grace := config.scheduler.grace_epochs) is not None and grace < first:
        return Fault(
            document.location(("scheduler", "grace_epochs")),
            f"scheduler.grace_epochs={grace} compares trials that are still equal: {why} ({names})",
            f"scheduler.grace_epochs={first} or more, or leave it out",
        )
    return None


def _not_handed_on(document: Document, config: SweepConfig, trial: TrialConfig) -> Fault | None:
    """A field by which one trial could not go on from another's weights."""
    if not isinstance(config.scheduler, Pbt):
        return None
    bad = [name for name in config.space if name.startswith(HANDED_ON) and name not in MAY_DIFFER]
    if not bad:
        return None
    return Fault(document.location(("space", bad[0])), "scheduler.name=pbt hands weights, optimizer and place in the "
                 f"training from trial to trial, which must have {', '.join(bad)} in common",
                 "search other fields, or set scheduler.name to asha or fifo")  # fmt: skip


def _of_value(document: Document, key: str, value: Point | Any, fault: Fault) -> Fault:
    message = fault.message if key in fault.message else f"{key} = {json.dumps(value)}: {fault.message}"
    return Fault(document.location(("space", key)), message, fault.hint)


def _handed_on(text: str) -> str:
    """An override of a sweep's data as one of `set`."""
    result = parse_override(text)
    if isinstance(result, Fault) or result[0][0] != DATA:
        return text
    return PlacedOverride.at(override_location(text), f"{SET}.{text}")
