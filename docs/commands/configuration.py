"""The reference of all configuration fields, from the typed configs: `python -m docs.commands.configuration`.

A field's description is that of its class's docstring (`Attributes:`); of a section, what its class is.
"""

from __future__ import annotations

__all__ = ["FOLDER", "PAGES", "Section", "descriptions", "pages", "sections"]

import importlib
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from inspect import cleandoc
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import griffe
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from attn.config.base import BelowRoot, Config, Location, Variant
from attn.prediction.config import PredictionConfig
from attn.runs.data import DataConfig
from attn.runs.evaluate import EvaluateConfig, EvaluateStoreConfig
from attn.runs.growth import GrowthConfig
from attn.runs.maps import MapsConfig
from attn.runs.table import KINDS
from attn.segmentation.config import SegmentPredictConfig


def _imported(name: str) -> type[Config]:
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


FOLDER = Path(__file__).resolve().parent.parent / "reference" / "configuration"
ROOTS: dict[str, type[Config]] = {
    **{kind: _imported(entry.config) for kind, entry in KINDS.items() if entry.config is not None},
    "evaluate": EvaluateConfig,
    "evaluate (a map store)": EvaluateStoreConfig,
    "maps": MapsConfig,
    "segment predict": SegmentPredictConfig,
    "store growth": GrowthConfig,
    "data check": DataConfig,
    "predict": PredictionConfig,
}
"""The config of each command."""
PAGES = {
    "training.md": ("Training", ("attn.training", "attn.models", "attn.tracking")),
    "data.md": ("Data and input", ("attn.data",)),
    "methods.md": ("Methods", ("attn.methods",)),
    "segmentation.md": ("Segmentation", ("attn.segmentation",)),
    "scores.md": ("Scores, maps and predictions", ("attn.evaluation", "attn.prediction", "attn.runs")),
    "pipelines_and_sweeps.md": (
        "Pipelines and sweeps",
        ("attn.runs.composed", "attn.runs.pipeline", "attn.runs.sweep"),
    ),
}
"""Title of each page, and the packages whose configs it holds."""
PATHS = {Location: "path or `s3://` URI", BelowRoot: "path below the data's root, absolute path or `s3://` URI"}
WORDS = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "`true` or `false`",
    NoneType: "`null`",
    Any: "anything",
}
SIGNS = (("ge", "≥ {}"), ("gt", "> {}"), ("le", "≤ {}"), ("lt", "< {}"), ("multiple_of", "a multiple of {}"),
         ("min_length", "length ≥ {}"), ("max_length", "length ≤ {}"))  # fmt: skip


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


def main() -> None:
    """Write the pages."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


def pages() -> dict[str, str]:
    """The text of every page by its file's name."""
    known = sections()
    texts = {page: f"# {title}\n\n{_intro()}\n" for page, (title, _) in PAGES.items()}
    for section in known.values():
        texts[section.page] += f"\n## {section.heading}\n\n{_text(section, known)}"
    return texts


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
            inner = next(_configs(info.annotation), None)
            found[name] = said.get(name, "") or (_summary(inner) if inner else "")
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
        for inner in _configs(info.annotation):
            if inner not in seen:
                yield from _walk(inner, command, f"{path}.{name}".strip("."), (*seen, config))


def _configs(annotation: Any) -> Iterator[type[Config]]:
    """The config classes in a type."""
    if isinstance(annotation, type) and issubclass(annotation, Config):
        yield annotation
    for part in get_args(annotation):
        yield from _configs(part)


def _intro() -> str:
    return (
        "<!-- Written by `python -m docs.commands.configuration`; do not edit. -->\n\n"
        "Every field with its type, its default and its range. A heading is the section's place in a config, so that\n"
        "`training` with `epochs` is `training.epochs=3` on the command line; `method, name=gain` is what `method`\n"
        "holds where `method.name` is `gain`. [Configuration](../../configuration.md) says how recipes and overrides\n"
        "combine."
    )


def _text(section: Section, known: dict[type[Config], Section]) -> str:
    config = section.config
    rows = [
        f"| `{name}` | {_row(config.model_fields[name], section.page, known)} | {_cell(text)} |"
        for name, text in descriptions(config).items()
    ]
    head = ["| field | type | default | range | |", "|---|---|---|---|---|"] if rows else ["No fields."]
    return "\n".join([f"{_summary(config)} `{config.__module__.replace('.', '/')}.py`", "", *head, *rows, ""])


def _is_fixed(info: FieldInfo) -> bool:
    """Whether a field has one value only: what kind of run or which variant this is."""
    return get_origin(info.annotation) is Literal and len(get_args(info.annotation)) == 1


def _row(info: FieldInfo, page: str, known: dict[type[Config], Section]) -> str:
    """The cells between a field's name and its description."""
    cells = (_type(info.annotation, info.metadata, page, known), _default(info), _range(info.annotation, info.metadata))
    return " | ".join(map(_cell, cells))


def _type(annotation: Any, metadata: list[Any], page: str, known: dict[type[Config], Section]) -> str:
    """A type in words; a config is a link to its section."""
    whole = Annotated[annotation, *metadata] if metadata else annotation
    for path, words in PATHS.items():
        if get_args(path) == get_args(whole):
            return words
    if annotation in WORDS:
        return WORDS[annotation]
    if (
        isinstance(annotation, type)
        and issubclass(annotation, Variant)
        and annotation.tag not in annotation.model_fields
    ):
        return ", ".join(_link(member, page, known) for _, member in sorted(annotation.members.items()))
    if isinstance(annotation, type) and issubclass(annotation, Config):
        return _link(annotation, page, known)
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(parts[0], list(parts[1:]), page, known)
    if origin is Literal:
        return ", ".join(f"`{json.dumps(part).strip(chr(34))}`" for part in parts)
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(_type(part, [], page, known) for part in parts))
    if origin is tuple and parts[-1] is not ...:
        return "[" + ", ".join(_type(part, [], page, known) for part in parts) + "]"
    if origin in (tuple, list):
        return f"list of: {_type(parts[0], [], page, known)}"
    if origin is dict:
        return f"mapping to: {_type(parts[1], [], page, known)}"
    raise TypeError(f"the reference has no words for the type {annotation}: add them to WORDS")


def _link(config: type[Config], page: str, known: dict[type[Config], Section]) -> str:
    section = known[config]
    kept = "".join(sign for sign in section.heading.lower() if sign.isalnum() or sign in " -_")
    text = section.choice.partition("=")[2] or section.path.rpartition(".")[2] or f"as of `attn {section.command}`"
    return f"[{text}]({'' if section.page == page else section.page}#{kept.replace(' ', '-')})"


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    value = info.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, Variant):
        return f"`{value.variant}`"
    if isinstance(value, Config) or (value == {} and any(_configs(info.annotation))):
        return "its defaults"
    if value is PydanticUndefined:
        raise TypeError("a default that needs other fields has no words")
    return f"`{json.dumps(value, ensure_ascii=False, default=list).strip(chr(34))}`" if value != "" else "empty"


def _range(annotation: Any, metadata: list[Any]) -> str:
    """What bounds a value, or the parts of it."""
    found = [
        words.format(_number(bound))
        for one in metadata
        for name, words in SIGNS
        if (bound := getattr(one, name, None)) is not None
    ]
    found += [bounds for part in get_args(annotation) if (bounds := _range_of(part))]
    return ", ".join(dict.fromkeys(found))


def _number(bound: float) -> str:
    if isinstance(bound, int) and bound >= 2**32 and bound.bit_count() == 1:
        return f"2^{bound.bit_length() - 1}"
    return f"{bound:,}" if isinstance(bound, int) else f"{bound:g}"


def _range_of(part: Any) -> str:
    if get_origin(part) is Annotated:
        return _range(get_args(part)[0], list(get_args(part)[1:]))
    return _range(part, []) if get_args(part) else ""


def _summary(config: type[Config]) -> str:
    """The first sentence or sentences of a class's docstring."""
    text = cleandoc(config.__doc__ or "").partition("\n\n")[0]
    return " ".join(text.split())


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


@cache
def _parsed(text: str) -> list[griffe.DocstringSection]:
    logging.getLogger("griffe").setLevel(logging.ERROR)  # a docstring alone has no types
    return griffe.Docstring(cleandoc(text)).parse("google")


if __name__ == "__main__":
    main()
