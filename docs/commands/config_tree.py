"""The configs of all commands as a tree: where each class stands, which fields it has, and what is said of them."""

from __future__ import annotations

__all__ = ["PAGES", "Section", "configs_in", "descriptions", "dotted_fields", "sections", "summary"]

import importlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from inspect import cleandoc
from typing import Any, Literal, get_args, get_origin

import griffe
from pydantic.fields import FieldInfo

from attn.config.base import Config, Variant
from attn.prediction.config import ImagePredictConfig
from attn.runs.data import DataConfig
from attn.runs.evaluate import EvaluateModelConfig, EvaluateStoreConfig
from attn.runs.growth import GrowthConfig
from attn.runs.maps import MapsConfig
from attn.runs.table import KINDS
from attn.segmentation.config import SegmentPredictConfig


def _imported(name: str) -> type[Config]:
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


ROOTS: dict[str, type[Config]] = {
    **{kind: _imported(entry.config) for kind, entry in KINDS.items() if entry.config is not None},
    "evaluate": EvaluateModelConfig,
    "evaluate (a map store)": EvaluateStoreConfig,
    "maps": MapsConfig,
    "segment predict": SegmentPredictConfig,
    "store growth": GrowthConfig,
    "data check": DataConfig,
    "predict": ImagePredictConfig,
}
"""The config of each command."""
PAGES = {
    "training.md": ("Fields of a training", ("attn.training", "attn.models", "attn.tracking")),
    "data.md": ("Fields of data and input", ("attn.data",)),
    "methods.md": ("Fields of methods", ("attn.methods",)),
    "segmentation.md": ("Fields of segmentation", ("attn.segmentation",)),
    "scores.md": ("Fields of scores, maps and predictions", ("attn.evaluation", "attn.prediction", "attn.runs")),
    "pipelines_and_sweeps.md": (
        "Fields of pipelines and sweeps",
        ("attn.runs.composed", "attn.runs.pipeline", "attn.runs.sweep", "jobs"),
    ),
}
"""Title of each page, and the packages whose configs it holds."""


@dataclass
class Section:
    """A config class and where it stands in a run's config.

    Attributes:
        config: The class.
        command: The command whose config has it, the first where there are several.
        path: Its place in that config, `training` for instance; empty for the command's own.
        choice: `name=gain` where its family is a choice.
    """

    config: type[Config]
    command: str
    path: str
    choice: str = ""
    heading: str = field(default="", init=False)

    @property
    def page(self) -> str:
        """The file of its page: that with the longest name of a package that it lies in."""
        module = f"{self.config.__module__}."
        found = [(len(package), page) for page, (_, packages) in PAGES.items() for package in packages
                 if module.startswith(f"{package}.")]  # fmt: skip
        return max(found)[1]


@cache
def sections() -> dict[type[Config], Section]:
    """Every config class that a command's config reaches, by class, with its heading."""
    found: dict[type[Config], Section] = {}
    for command, config in ROOTS.items():
        for section in _walk(config, command, ""):
            found.setdefault(section.config, section)
    taken: set[tuple[str, str]] = set()
    for section in found.values():
        place = section.path or f"attn {section.command}"
        for heading in (
            place,
            f"{section.command}: {place}",
            f"{section.command}: {place} ({section.config.__name__})",
        ):
            section.heading = f"{heading}, {section.choice}" if section.choice else heading
            if (section.page, section.heading) not in taken:
                break
        taken.add((section.page, section.heading))
    return found


def descriptions(config: type[Config]) -> dict[str, str]:
    """What docstrings say of each field that can be chosen; of a section, what its class is."""
    found: dict[str, str] = {}
    said = _attributes(config)
    for name, info in config.model_fields.items():
        if not _is_fixed(info):
            inner = next(configs_in(info.annotation), None)
            found[name] = said.get(name, "") or (summary(inner) if inner else "")
    return found


def _attributes(config: type[Config]) -> dict[str, str]:
    """The `Attributes:` of a class and its bases."""
    found: dict[str, str] = {}
    for owner in reversed(config.__mro__):
        if issubclass(owner, Config) and (text := owner.__dict__.get("__doc__")):
            for part in _parsed(text):
                if part.kind is griffe.DocstringSectionKind.attributes:
                    for attribute in part.value:
                        # Of `mean, std: ...` griffe takes the second name for the type of the first.
                        names = f"{attribute.name} {attribute.annotation or ''}".replace(",", " ")
                        found |= dict.fromkeys(names.split(), " ".join(attribute.description.split()))
    return found


def dotted_fields() -> Iterator[str]:
    """Every field and section of every command's config by its dotted name, as in `a.b=value`."""
    for command, config in ROOTS.items():
        for section in _walk(config, command, ""):
            yield section.path
            yield from (f"{section.path}.{name}".strip(".") for name in section.config.model_fields)


def _walk(config: type[Config], command: str, path: str, seen: tuple[type[Config], ...] = ()) -> Iterator[Section]:
    choice = ""
    if issubclass(config, Variant) and config.tag in config.model_fields:
        choice = f"{config.tag}={config.model_fields[config.tag].default}"
    if issubclass(config, Variant) and config.tag and not choice:
        for _, member in sorted(config.members.items()):
            yield from _walk(member, command, path, (*seen, config))
        return
    yield Section(config, command, path, choice)
    for name, info in config.model_fields.items():
        for inner in configs_in(info.annotation):
            if inner not in seen:
                yield from _walk(inner, command, f"{path}.{name}".strip("."), (*seen, config))


def configs_in(annotation: Any) -> Iterator[type[Config]]:
    """The config classes in a type."""
    if isinstance(annotation, type) and issubclass(annotation, Config):
        yield annotation
    for part in get_args(annotation):
        yield from configs_in(part)


def summary(config: type[Config]) -> str:
    """The first sentence or sentences of a class's docstring."""
    text = cleandoc(config.__doc__ or "").partition("\n\n")[0]
    return " ".join(text.split())


def _is_fixed(info: FieldInfo) -> bool:
    """Return whether a field has one value only: what kind of run or which variant this is."""
    return get_origin(info.annotation) is Literal and len(get_args(info.annotation)) == 1


@cache
def _parsed(text: str) -> list[griffe.DocstringSection]:
    logging.getLogger("griffe").setLevel(logging.ERROR)  # a docstring alone has no types
    return griffe.Docstring(cleandoc(text)).parse("google")
