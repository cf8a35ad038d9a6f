"""The reference of all configuration fields, from the typed configs: `python -m docs.commands.configuration`.

A field's description is that of its class's docstring (`Attributes:`); of a section, what its class is.
"""

from __future__ import annotations

__all__ = ["FOLDER", "pages"]

import json
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from attn.config.base import BelowRoot, Config, Location, Variant
from attn.models import architecture, architectures
from docs.commands.config_tree import PAGES, Section, configs_in, descriptions, sections, summary

FOLDER = Path(__file__).resolve().parent.parent / "reference" / "configuration"
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
    texts["training.md"] += f"\n## Backbones\n\n{_backbones()}"
    return texts


def _intro() -> str:
    return (
        "<!-- Written by `python -m docs.commands.configuration`; do not edit. -->\n\n"
        "Every field with its type, its default and its range. A heading is the section's place in a config, so that\n"
        "`training` with `epochs` is `training.epochs=3` on the command line; `method, name=gain` is what `method`\n"
        "holds where `method.name` is `gain`. [Configuration](../../configuration.md) says how recipes and overrides\n"
        "combine."
    )


def _backbones() -> str:
    """What `model.name` may be, from the registry of architectures."""
    rows = [
        "| `model.name` | `model.stride`, the default first | `model.head` | torchvision's weights |",
        "|---|---|---|---|",
    ]
    for name in architectures():
        found = architecture(name)
        strides, heads = ", ".join(map(str, found.strides)), ", ".join(f"`{head}`" for head in found.heads)
        rows.append(f"| `{name}` | {strides} | {heads} | {'none' if found.weights is None else f'`{found.weights}`'} |")
    return "\n".join([*rows, "", "Heads are those of classifiers; segmentation networks have their own.", ""])


def _text(section: Section, known: dict[type[Config], Section]) -> str:
    config = section.config
    rows = [
        f"| `{name}` | {_row(config.model_fields[name], section.page, known)} | {_cell(text)} |"
        for name, text in descriptions(config).items()
    ]
    head = ["| field | type | default | range | |", "|---|---|---|---|---|"] if rows else ["No fields."]
    return "\n".join([f"{summary(config)} `{config.__module__.replace('.', '/')}.py`", "", *head, *rows, ""])


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
    if isinstance(value, Config) or (value == {} and any(configs_in(info.annotation))):
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


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    main()
