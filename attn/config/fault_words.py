"""Faults that pydantic finds in values, in words of configs rather than of JSON."""

from __future__ import annotations

__all__ = ["how_to_write", "is_mismatch", "of_no_type", "plain_message"]

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError, create_model
from pydantic_core import ErrorDetails

from attn.config.base import FieldError, Variant

SECTION = frozenset({"model_type", "model_attributes_type", "dataclass_type"})
MAPPING = frozenset({"dict_type", "mapping_type"})
LIST = frozenset({"list_type", "tuple_type", "set_type", "frozen_set_type"})
IS_SECTION = "gives one value to a section that has fields of its own"
WORDS = (
    (SECTION, IS_SECTION),
    (LIST, "should be a list"),
    (MAPPING, "should be a mapping of names to values"),
    ({"int_type", "int_parsing", "int_from_float"}, "should be a whole number"),
    ({"float_type", "float_parsing"}, "should be a number"),
    ({"bool_type", "bool_parsing"}, "should be true or false"),
    ({"string_type"}, "should be text"),
    ({"none_required"}, "should be null"),
)
OTHER_TEXT = "literal_error"
OF_OTHER_TYPE = (OTHER_TEXT, "int_from_float", "none_required")
EXAMPLES: dict[Any, str] = {int: "100", float: "0.5", bool: "true"}
SHOWN = 60


def plain_message(fault: Mapping[str, Any], section: type[BaseModel] | None = None) -> str:
    """What is wrong with a value, to be read after its name: `should be a whole number`.

    Args:
        fault: An item of `ValidationError.errors()`.
        section: The class of the section that the field is, if it is one.
    """
    if section is not None and fault["type"] in MAPPING:  # a section of which a field selects the class
        return IS_SECTION
    for types, words in WORDS:
        if fault["type"] in types:
            return words
    message = str(fault["msg"]).removeprefix("Value error, ")
    # `List should have at least 1 item after validation, not 0`, `Input should be greater than 0`
    return re.sub(r"^[A-Z][a-z]+ (?=should )", "", message).replace(" after validation", "")


def is_mismatch(fault: Mapping[str, Any]) -> bool:
    """Whether a value is of another type than a member of a union takes, or none of the texts that it takes."""
    return fault["type"] in (OTHER_TEXT, "int_from_float", "none_required") or fault["type"].endswith(
        ("_type", "_parsing")
    )


def of_no_type(faults: Sequence[ErrorDetails]) -> ErrorDetails:
    """One fault of a value that is of none of a union's types, from those of the types."""
    words = [
        f"should be {fault.get('ctx', {}).get('expected')}" if fault["type"] == OTHER_TEXT else plain_message(fault)
        for fault in faults
    ]
    message = " or ".join([words[0], *(word.removeprefix("should be ") for word in words[1:])])
    return {**faults[0], "type": "no_type", "msg": message}


def how_to_write(name: str, fault: Mapping[str, Any], section: type[BaseModel] | None) -> str:
    """How the value is written instead, for the hint of a fault; empty where its message says all.

    Args:
        name: The field, as in an override.
        section: The class of the section that the field is, if it is one.
    """
    given = fault["input"]
    if isinstance(error := fault.get("ctx", {}).get("error"), FieldError):
        return error.hint
    if fault["type"] in SECTION | MAPPING and section is not None and name:
        if issubclass(section, Variant) and section.tag not in section.model_fields:
            members = sorted(section.members)
            chosen = given if given in members else "..."
            return f"write {name}.{section.tag}={chosen}; one of {', '.join(members)}"
        example = _with_value(section, given) or _example(section)
        return f"write {name}.{example}; its fields are {', '.join(section.model_fields)}"
    if fault["type"] in LIST and isinstance(given, str | int | float):
        items = [one.strip() for one in given.split(",")] if isinstance(given, str) else [json.dumps(given)]
        written = f"[{', '.join(items)}]"
        return f"write {name}={written}" if name and len(written) <= SHOWN else "write [A, B, ...]"
    return ""


def _with_value(section: type[BaseModel], given: object) -> str:
    """The first field of numbers with the number that was given, if it takes that: `images=8`; else empty."""
    if isinstance(given, bool) or not isinstance(given, int | float):
        return ""
    for name, info in section.model_fields.items():
        if not (info.annotation is int or info.annotation is float):
            continue
        try:
            create_model("OneField", value=(info.annotation, info)).model_validate({"value": given})
        except ValidationError:
            return ""
        return f"{name}={json.dumps(given)}"
    return ""


def _example(section: type[BaseModel]) -> str:
    """A field with a value: the first that says something, as in `images=100`."""
    for name, info in section.model_fields.items():
        value = info.get_default(call_default_factory=True, validated_data={})
        if info.is_required() and info.annotation in EXAMPLES:
            return f"{name}={EXAMPLES[info.annotation]}"
        if isinstance(value, bool | int | float | str):
            return f"{name}={value if isinstance(value, str) else json.dumps(value)}"
    return f"{next(iter(section.model_fields))}=..."
