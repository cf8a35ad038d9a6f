"""A short file that starts from a recipe: what must be set, and what people change most, each with its meaning."""

from __future__ import annotations

__all__ = ["Starter", "starter"]

import json
import os
import re
import shlex
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from attn.config.base import Config
from attn.config.document import SOURCE, SOURCE_INDEPENDENT, Document, override_of, parse_override
from attn.config.field_docs import descriptions, summary
from attn.config.resolve import override
from attn.data.sources import SourceConfig
from attn.errors import ConfigError, Fault
from attn.runs.composed import ComposedConfig
from attn.runs.config_notices import config_notices
from attn.runs.config_reader import resolve_run
from attn.runs.layers import DATA, RECIPE, Layers, read_layers, with_data
from attn.runs.pipeline import PipelineConfig
from attn.runs.recipes import RECIPE_PREFIX, config_text, recipe_paths
from attn.runs.sweep.load import LoadedSweep, trial_config
from attn.runs.texts import LOCAL_TEXTS

Path = tuple[str, ...]
PLACEHOLDERS = {"root": "path/to/images", "manifest": "path/to/table.csv"}
"""What stands for the required fields of a source until they are set."""
ELSEWHERE = ("method.maps", "method.source.root", "labels.maps.model")
"""Fields that name something that another run or the user has made."""
OFTEN = (
    "validation.split",
    "input.size",
    "model.weights",
    "optimizer.lr",
    "optimizer.multipliers.head_weight",
    "optimizer.multipliers.head_bias",
    "training.epochs",
    "training.batch_size",
)
"""Fields of a training that people change most."""
SHARED = ("seed", "cluster.workers", "cluster.device")
"""Fields that the sections of a pipeline share."""
CUES = ("labels.saliency", "labels.saliency_model", "labels.threshold")
"""Fields of cues that people change most."""
REFINED = {"maps": "maps.refine", "train": "refine"}
"""Where a pipeline's maps are refined: those of its section `maps`, or those that `train` has accumulated."""
RECORD = ("tracking.register_as",)
NEXT = {
    "train": ("attn train {}",),
    "segment": ("attn segment cues {}", "attn segment {}"),
    "pipeline": ("attn pipeline {}",),
    "sweep": ("attn plan {}", "attn sweep {}"),
}
COMMENTS_AT, WIDTH = 34, 118


@dataclass(frozen=True)
class Starter:
    """A file that starts from a recipe.

    Attributes:
        missing: Fields that hold a placeholder.
        commands: What to run next.
        notices: Messages for the user about the run.
    """

    text: str
    kind: str
    missing: tuple[str, ...]
    commands: tuple[str, ...]
    notices: tuple[str, ...]


class _Line(NamedTuple):
    """A field's value.

    Attributes:
        active: It is set; else it is shown in a comment.
    """

    value: Any
    active: bool
    comment: str = ""


def starter(recipe: str, file: str, overrides: Sequence[str]) -> Starter:
    """Write a file's text.

    Args:
        recipe: A recipe's name, or a run's file.
        file: Where the text will stand.
        overrides: `a.b=value` each, to be set in the file; `data=FILE` for the name of a file with the data's fields,
            which are written into the text where other overrides lie over them.

    Raises:
        ConfigError: There is no such recipe, or the overrides do not fit it.
    """
    overrides = _with_data_fields(overrides)
    given = _given(overrides)
    filled = _placeholders(recipe, given)
    layers = read_layers(*config_text(recipe), [*filled, *overrides], LOCAL_TEXTS)
    loaded = resolve_run(layers)
    config = loaded.config if isinstance(loaded, LoadedSweep) else loaded
    lines = dict(_lines(loaded, layers, given))
    lines |= {path: _Line(value, True, lines[path].comment if path in lines else "") for path, value in given.items()}
    missing = tuple(".".join(path) for path in _missing(loaded, given))
    for name in missing:
        path = tuple(name.split("."))
        lines[path] = lines[path]._replace(comment=f"must be set: {lines[path].comment}")
    if isinstance(reference := given.get((DATA,)), str):
        lines = {path: line for path, line in lines.items() if path[0] != DATA}
        lines = {(DATA,): _Line(_from_folder(reference, file), True, "the data section, in a file of its own")} | lines
    text, name = config_text(recipe)
    named = name.removeprefix(RECIPE_PREFIX) if name.startswith(RECIPE_PREFIX) else _from_folder(recipe, file)
    commands = tuple(text.format(shlex.quote(file)) for text in (f"attn {DATA} check {{}}", *NEXT.get(config.kind, ())))
    head = _head(layers.whole, text, named, missing, commands)
    body = "\n".join([f"{RECIPE}: {_yaml(named)}", *_blocks(lines)])
    return Starter(f"{head}\n{body}\n", config.kind, missing, commands, tuple(config_notices(loaded)))


def _given(overrides: Sequence[str]) -> dict[Path, Any]:
    """What the user sets, by path; the last of a field wins."""
    given: dict[Path, Any] = {}
    for text in overrides:
        parsed = parse_override(text)
        if isinstance(parsed, Fault):
            raise ConfigError([parsed])
        given |= dict(_leaves(*parsed))
    if (RECIPE,) in given:
        raise ConfigError([Fault(RECIPE, "is the first argument", "attn init RECIPE FILE.yaml")])
    return given


def _with_data_fields(overrides: Sequence[str]) -> Sequence[str]:
    """The overrides, with the fields in the file of `data=FILE` where others lie over it: a section names one alone."""
    given = _given(overrides)
    files = [path for path, value in given.items() if path[-1] == DATA and isinstance(value, str)]
    together = any(path[: len(file)] == file and path != file for path in given for file in files)
    return with_data(overrides, LOCAL_TEXTS) if together else overrides


def _leaves(path: Path, value: Any) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _leaves((*path, str(key)), inner)
    else:
        yield path, value


def _placeholders(recipe: str, given: Mapping[Path, Any]) -> list[str]:
    """Overrides for the required fields of a chosen source that the user does not set."""
    source = given.get((DATA, SOURCE))
    member = SourceConfig.members.get(source) if isinstance(source, str) else None
    if member is None or (DATA,) in given or _source_of(recipe) == source:
        return []
    required = [name for name, info in member.model_fields.items() if info.is_required()]
    return [f"{DATA}.{name}={PLACEHOLDERS[name]}" for name in required if (DATA, name) not in given]


def _missing(loaded: Any, given: Mapping[Path, Any]) -> Iterator[Path]:
    """The required fields of the data that the user does not set, and that name nothing that is there."""
    data = _data_of(loaded)
    for name, info in type(data).model_fields.items():
        if (
            info.is_required()
            and not {(DATA,), (DATA, name)} & given.keys()
            and not os.path.exists(getattr(data, name))
        ):
            yield DATA, name


def _source_of(recipe: str) -> str:
    return _data_of(resolve_run(read_layers(*config_text(recipe), [], LOCAL_TEXTS))).variant


def _data_of(loaded: Any) -> SourceConfig:
    config = trial_config(loaded.base, {}) if isinstance(loaded, LoadedSweep) else loaded
    return config.data


def _lines(loaded: Any, layers: Layers, given: Mapping[Path, Any]) -> Iterator[tuple[Path, _Line]]:
    """The fields to show, in order."""
    data = _data_of(loaded)
    yield (DATA, SOURCE), _Line(data.variant, True, _sentence(summary(type(data))))
    said = descriptions(type(data))
    for name, info in type(data).model_fields.items():
        if name != SOURCE and name not in SOURCE_INDEPENDENT:
            value, required = _relative(getattr(data, name)), info.is_required()
            comment = _sentence(said.get(name, ""))
            if required and name in PLACEHOLDERS:
                comment += "; a relative path starts from the working directory"
            yield (DATA, name), _Line(value, required, comment)
    if isinstance(loaded, LoadedSweep):
        yield from _sweep_lines(loaded, layers)
    elif isinstance(loaded, ComposedConfig):
        trainings = loaded.trainings()
        own = [name for name in SHARED if len({_at(one, tuple(name.split("."))) for one in trainings.values()}) > 1]
        for section, config in trainings.items():
            yield from _training_lines(config, (section,), own)
        yield from _shown(next(iter(trainings.values())), [name for name in SHARED if name not in own])
        if isinstance(loaded, PipelineConfig):
            yield from _shown(loaded, [REFINED["train" if loaded.maps is None else "maps"]])
        yield from _shown(loaded, RECORD)
    else:
        yield from _training_lines(loaded, (), [])
        yield from _shown(loaded, (*SHARED, *RECORD))


def _training_lines(config: Config, section: Path, own: Sequence[str]) -> Iterator[tuple[Path, _Line]]:
    """The fields of a training.

    Args:
        own: Fields of `SHARED` in which the sections of the run differ.
    """
    names = [*ELSEWHERE, *own, *(name for name in OFTEN if not section or name != "validation.split")]
    for name in ("method", "labels.rule"):
        owner = _at(config, tuple(name.split(".")))
        if isinstance(owner, Config):
            names += [f"{name}.{field}" for field in type(owner).model_fields if field in owner.model_fields_set]
    names += CUES
    for path, line in _shown(config, names):
        elsewhere = ".".join(path) in ELSEWHERE
        comment = f"must be set: {line.comment}" if elsewhere else line.comment
        if path[-1] != "name" and not (elsewhere and section and path[-1] != "root"):
            yield (*section, *path), line._replace(active=elsewhere, comment=comment)


def _sweep_lines(loaded: LoadedSweep, layers: Layers) -> Iterator[tuple[Path, _Line]]:
    whole = Document()
    override(whole, layers.overrides)
    space = layers.whole.values.get("space", {}) | whole.values.get("space", {})
    for number, (name, value) in enumerate(space.items()):
        yield ("space", name), _Line(value, True, "" if number else "what is searched: choices, or a range")
    for name, value in loaded.config.set.items():
        if not name.startswith(f"{DATA}."):
            yield ("set", name), _Line(value, False, "for all trials")
    name = loaded.config.scheduler.variant
    yield ("scheduler", "name"), _Line(name, False, "which trials are stopped early: fifo (none), asha or pbt")
    yield from _shown(
        loaded.config,
        (
            "scheduler.grace_epochs",
            "scheduler.factor",
            "search.trials",
            "objective.metric",
            "parallel",
            "tracking.register_as",
        ),
    )


def _shown(config: Config, names: Sequence[str]) -> Iterator[tuple[Path, _Line]]:
    """Fields that a config has, in comments, with what their docstring says."""
    for name in names:
        path = tuple(name.split("."))
        owner = _at(config, path[:-1])
        if isinstance(owner, Config) and path[-1] in type(owner).model_fields:
            value = getattr(owner, path[-1])
            if not isinstance(value, Config):
                said = descriptions(type(owner)).get(path[-1], "")
                yield path, _Line(_relative(value), False, _sentence(said))


def _at(config: Any, path: Path) -> Any:
    for key in path:
        config = getattr(config, key, None)
    return config


def _sentence(text: str) -> str:
    """The first sentence; a full stop within one, as in `eq. 4`, is not followed by a capital."""
    first = re.split(r"\.\s+(?=[A-Z`])", text)[0]
    return first if first.endswith("...") else first.rstrip(".")  # a list that goes on


def _relative(value: Any) -> Any:
    """A path below the working directory as a user would write it; anything else unchanged."""
    folder = f"{os.getcwd()}/"
    return value.removeprefix(folder) if isinstance(value, str) else value


def _from_folder(name: str, file: str) -> str:
    """A file's name as seen from the folder of another file."""
    if os.path.isabs(name) or name.startswith("~"):
        return name
    return os.path.relpath(name, os.path.dirname(file) or ".")


def _head(whole: Document, text: str, recipe: str, missing: Sequence[str], commands: Sequence[str]) -> str:
    title = text.partition("\n")[0]
    lines = [title.lstrip("# ") if title.startswith("#") else whole.name, ""]
    show = f"`attn recipes show {recipe}` prints it" if recipe in recipe_paths() else "see there"
    way = "Remove the # before a field to change it; otherwise the value beside it holds."
    lines += textwrap.wrap(f"Starts from {recipe} ({show}). {way}", WIDTH)
    if missing:
        lines.append(f"Must be set: {', '.join(missing)}")
    lines += [f"{'Next:' if not number else '':<7}{command}" for number, command in enumerate(commands)]
    return "\n".join(f"# {line}".rstrip() for line in lines)


def _blocks(lines: Mapping[Path, _Line]) -> Iterator[str]:
    """The lines of a file, with an empty line before each section."""
    for key in dict.fromkeys(path[0] for path in lines):
        yield ""
        yield from _block(key, {path[1:]: line for path, line in lines.items() if path[0] == key}, 0, None)


def _block(key: str, lines: Mapping[Path, _Line], indent: int, mark: int | None) -> Iterator[str]:
    """A field or section.

    Args:
        mark: Indent of the section around it that is in a comment.
    """
    if mark is None and not any(line.active for line in lines.values()):
        mark = indent
    start = " " * indent if mark is None else f"{' ' * mark}# {' ' * (indent - mark)}"
    if () in lines:
        field, comment = f"{start}{_yaml(key)}: {_yaml(lines[()].value)}", lines[()].comment
        line = f"{field:<{COMMENTS_AT}}  # {comment}" if comment else field
        if len(line) > WIDTH:
            yield from (f"{start}# {part}" for part in textwrap.wrap(comment, WIDTH - len(start) - 2))
            line = field
        yield line
        return
    yield f"{start}{_yaml(key)}:"
    for inner in dict.fromkeys(path[0] for path in lines):
        inside = {path[1:]: line for path, line in lines.items() if path[0] == inner}
        yield from _block(inner, inside, indent + 2, mark)


def _yaml(value: Any) -> str:
    """A plain value in one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_word(key)}: {_yaml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_word(inner) if isinstance(inner, str) else _yaml(inner) for inner in value) + "]"
    return override_of("x", value).partition("=")[2]


def _word(text: str) -> str:
    """A text within brackets, quoted where it is not a plain word."""
    return _yaml(text) if re.fullmatch(r"[\w.-]+", text) else json.dumps(text)
