"""Types, defaults and ranges of the fields of configs in words."""

from __future__ import annotations

__all__ = ["default_words", "range_words", "type_words"]

import json
from collections.abc import Callable
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from attn.config.base import BelowRoot, Config, Location, Variant
from attn.config.field_docs import configs_in

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


def type_words(annotation: Any, metadata: list[Any], name_of: Callable[[type[Config]], str]) -> str:
    """A type in words.

    Args:
        name_of: What a config class is called.
    """
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
        return ", ".join(name_of(member) for _, member in sorted(annotation.members.items()))
    if isinstance(annotation, type) and issubclass(annotation, Config):
        return name_of(annotation)
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return type_words(parts[0], list(parts[1:]), name_of)
    if origin is Literal:
        return ", ".join(f"`{json.dumps(part).strip(chr(34))}`" for part in parts)
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(type_words(part, [], name_of) for part in parts))
    if origin is tuple and parts[-1] is not ...:
        return "[" + ", ".join(type_words(part, [], name_of) for part in parts) + "]"
    if origin in (tuple, list):
        return f"list of: {type_words(parts[0], [], name_of)}"
    if origin is dict:
        return f"mapping to: {type_words(parts[1], [], name_of)}"
    raise TypeError(f"there are no words for the type {annotation}: add them to WORDS")


def default_words(info: FieldInfo) -> str:
    """A field's default, or that it has none."""
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


def range_words(annotation: Any, metadata: list[Any]) -> str:
    """What bounds a value, or the parts of it; empty where nothing does."""
    results = [
        words.format(_number(bound))
        for one in metadata
        for name, words in SIGNS
        if (bound := getattr(one, name, None)) is not None
    ]
    results += [bounds for part in get_args(annotation) if (bounds := _range_of(part))]
    return ", ".join(dict.fromkeys(results))


def _number(bound: float) -> str:
    if isinstance(bound, int) and bound >= 2**32 and bound.bit_count() == 1:
        return f"2^{bound.bit_length() - 1}"
    return f"{bound:,}" if isinstance(bound, int) else f"{bound:g}"


def _range_of(part: Any) -> str:
    if get_origin(part) is Annotated:
        return range_words(get_args(part)[0], list(get_args(part)[1:]))
    return range_words(part, []) if get_args(part) else ""
