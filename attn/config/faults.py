"""The faults that validation finds in a config's values, each with its location and a hint."""

from __future__ import annotations

__all__ = ["configs_in", "faults_of", "location_of", "member_of"]

import difflib
import itertools
import json
import re
import types
from collections.abc import Collection
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from attn.config.base import Config, Variant
from attn.config.document import DATA, OVERRIDE, RECIPE_PREFIX, Document, Path
from attn.config.fault_words import how_to_write, is_mismatch, of_no_type, plain_message
from attn.errors import Fault
from attn.redaction import without_secrets

MAX_FAULTS = 100
"""Maximum number of faults in a message; looking for misspelled names takes time."""
SHOWN = 200
"""Maximum characters of a wrong value in a message."""
NEAR, FAR = 0.5, 0.75
"""Least likeness, 0 to 1, of a name that may be meant: in the same section, and elsewhere."""
MOST_MEMBERS = 4
"""Members of a family that a hint names."""


def configs_in(annotation: Any) -> list[type[BaseModel]]:
    """The config classes in a field's annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Union, types.UnionType):
        return [item for option in get_args(annotation) for item in configs_in(option)]
    return []


def member_of(kind: type[BaseModel], values: Any) -> type[BaseModel] | None:
    """The class that validates `values`: the selected member if `kind` is a family, else `kind`."""
    if issubclass(kind, Variant) and kind.tag and kind.tag not in kind.model_fields:
        tag = values.get(kind.tag) if isinstance(values, dict) else None
        return kind.members.get(tag) if isinstance(tag, str) else None
    return kind


def _class_at(kind: type[BaseModel], values: Any, path: Path) -> type[BaseModel] | None:
    """The config class of the mapping at a path."""
    member = member_of(kind, values)
    for key in path:
        if member is None or key not in member.model_fields:
            return None
        values = values.get(key) if isinstance(values, dict) else None
        inner = configs_in(member.model_fields[key].annotation)
        member = member_of(inner[0], values) if inner else None
    return member


def _section_at(kind: type[BaseModel], values: Any, path: Path) -> type[BaseModel] | None:
    """The config class of the section that the field at a path is; None if it is a value, or several may be meant."""
    owner = _class_at(kind, values, path[:-1]) if path else None
    sections = configs_in(owner.model_fields[path[-1]].annotation) if owner and path[-1] in owner.model_fields else []
    return sections[0] if len(sections) == 1 else None


def _field_paths(kind: type[BaseModel], values: Any, prefix: Path = ()) -> list[Path]:
    """The paths of all fields in the tree, those of a section before those of the sections in it."""
    member, inner = member_of(kind, values), list[Path]()
    fields = member.model_fields if member else {}
    for name, info in fields.items():
        value = values.get(name) if isinstance(values, dict) else None
        for option in configs_in(info.annotation):
            inner += _field_paths(option, value, (*prefix, name))
    return [*((*prefix, name) for name in fields), *inner]


def _path(kind: type[BaseModel], loc: tuple[int | str, ...], values: Any) -> tuple[Path, Path | None]:
    """The keys of a pydantic location, without what pydantic inserts: tags of families and names of a union's members.

    Returns:
        The path; and that of the field which is a union, None if the location is in no union.
    """
    path, union = list[str](), None
    member: type[BaseModel] | None = kind
    for key in map(str, loc):
        if member is not None and issubclass(member, Variant) and member.tag not in member.model_fields:
            member = member.members.get(key)
            continue
        is_item = isinstance(values, list) and key.isdecimal()
        if not is_item and not (isinstance(values, dict) and key in values) and key not in _fields(member):
            union = union or tuple(path)
            continue
        path.append(key)
        values = _at(values, (key,))
        inner = configs_in(member.model_fields[key].annotation) if member and key in member.model_fields else []
        member = inner[0] if inner else None
    return tuple(path), union


def _fields(member: type[BaseModel] | None) -> Collection[str]:
    return member.model_fields if member is not None else ()


def faults_of(kind: type[Config], document: Document, error: ValidationError) -> list[Fault]:
    """The faults of a document that was validated as a config class; `MAX_FAULTS` of them and how many more there are.

    Fields of data whose file could not be read are left out.
    """
    placed = [(*_path(kind, one["loc"], document.values), one) for one in error.errors(include_url=False)]
    unions: dict[Path, list[tuple[Path, ErrorDetails]]] = {}
    for path, union, details in placed:
        if not _is_unread(document, path):
            unions.setdefault(path if union is None else union, []).append((path, details))
    distinct = [one for union, group in unions.items() for one in _of_one_value(union, group)]
    faults = [_fault(kind, document, path, details) for path, details in distinct[:MAX_FAULTS]]
    return faults + ([Fault("config", f"and {len(distinct) - MAX_FAULTS} more")] if len(distinct) > MAX_FAULTS else [])


def _is_unread(document: Document, path: Path) -> bool:
    """Whether a field is of data whose file could not be read. A section without data of its own has the whole's."""
    return ((DATA,) in document.unread and DATA in path) or any(path[: len(one)] == one for one in document.unread)


def _of_one_value(union: Path, group: list[tuple[Path, ErrorDetails]]) -> list[tuple[Path, ErrorDetails]]:
    """What is wrong with a value that may be of several types: with the type that it is of, or that it is of none."""
    if len(group) == 1:
        return group
    closest = [(path, one) for path, one in group if len(path) > len(union) or not is_mismatch(one)]
    return closest or [(union, of_no_type([one for _, one in group]))]


def location_of(document: Document, path: Path, message: str) -> str:
    """The location of what is wrong with a section: of the field that a message names, and else of the section.

    The texts of recipes are right by themselves. A section that a recipe gives and overrides change is wrong by these.

    Args:
        path: The section's.
    """
    where, own = document.location(path), list[str]()
    words = re.findall(r"[\w.]+(?: ?=)?", message)  # takes each character once: a message may quote a long text
    names = [word.rstrip(" =").strip(".") for word in words]
    set_by = [name for word, name in zip(words, names, strict=True) if word.endswith("=")]
    for field in [*set_by, *(name for name in names if "." in name)]:
        for named in ((*path, *field.split(".")), tuple(field.split("."))):
            own += [document.locations[named]] if named in document.locations else []
    inside = {
        place: _at(document.values, one)
        for one, place in document.locations.items()
        if place.startswith(OVERRIDE) and one[: len(path)] == path
    }
    # A message may quote a value without the prefix of its family: `timm has no network 'resnet51'`.
    said = [
        place
        for place, value in inside.items()
        if isinstance(value, str) and (_names(message, value) or _names(message, value.rpartition("/")[2]))
    ]
    overrides = [place for place in own if place.startswith(OVERRIDE)] or said
    if not overrides and where.startswith(RECIPE_PREFIX):
        return ", ".join(inside) if inside else next((o for o in own if not o.startswith(RECIPE_PREFIX)), where)
    return overrides[0] if overrides else where


def _at(values: Any, path: Path) -> Any:
    for key in path:
        if isinstance(values, list) and key.isdecimal():
            values = values[int(key)] if int(key) < len(values) else None
        else:
            values = values.get(key) if isinstance(values, dict) else None
    return values


def _names(message: str, value: str) -> bool:
    """Whether a message has a value as a word."""
    return bool(value) and re.search(rf"(?<!\w){re.escape(value)}(?!\w)", message) is not None


def _fault(kind: type[Config], document: Document, path: Path, details: ErrorDetails) -> Fault:
    where, name, what = document.location(path), ".".join(path), details["type"]
    if what == "extra_forbidden":
        return Fault(where, f"{name} is not a known field", _meant(kind, document.values, path))
    if what in ("union_tag_invalid", "union_tag_not_found", "literal_error"):
        context = details.get("ctx", {})
        options = str(context.get("expected_tags") or context.get("expected") or "").replace("'", "")
        given = context.get("tag", details["input"])
        if what == "union_tag_not_found":
            family = _section_at(kind, document.values, path)
            tag, members = (family.tag, family.members) if family and issubclass(family, Variant) else ("name", {})
            hints = [f"one of {', '.join(members)}"]
            for key in details["input"] if isinstance(details["input"], dict) else ():
                hints += filter(None, [_of_other_member(kind, document.values, (*path, str(key)))])
            return Fault(where, f"{name}.{tag} is missing", "; ".join(hints))
        if what == "union_tag_invalid":
            name += "." + str(context.get("discriminator", "")).strip("'")
            where = document.location((*path, name.rsplit(".", 1)[-1]))
        near = difflib.get_close_matches(str(given), options.replace(" or ", ", ").split(", "), n=1)
        hint = f"one of {options}" + (f"; did you mean {near[0]}?" if near else "")
        return Fault(where, f"{name} = {_shorten(repr(given))} is not available", hint)
    if what == "missing":
        owner = _class_at(kind, document.values, path[:-1])
        chosen = document.location((*path[:-1], owner.tag)) if owner and issubclass(owner, Variant) else where
        return Fault(
            chosen if chosen.startswith(OVERRIDE) else where, f"{name} is missing", f"give it, e.g. {name}=..."
        )
    section = _section_at(kind, document.values, path)
    message, hint, given = plain_message(details, section), how_to_write(name, details, section), details["input"]
    if isinstance(given, dict) or not path:
        return Fault(location_of(document, path, message), f"{name}: {message}" if name else message, hint)
    return Fault(where, f"{name} = {_quoted(given)} {message}", hint)


def _meant(kind: type[BaseModel], values: Any, path: Path) -> str:
    """A hint that names the field which a path that leads to none may mean; without one, the fields that are there."""
    if path == ("base",):
        return "did you mean recipe?"  # `base` was a sweep's word for it
    name, section = path[-1], path[:-1]
    fields = list(_fields(_class_at(kind, values, section)))
    near = difflib.get_close_matches(name, fields, n=1, cutoff=NEAR)
    other = _of_other_member(kind, values, path, better_than=_likeness(name, near[0]) if near else 0.0)
    if other or near:
        return other or f"did you mean {'.'.join((*section, near[0]))}?"
    paths = [one for one in _field_paths(kind, values) if _likeness(name, one[-1]) >= FAR]
    if paths:
        nearest = max(paths, key=lambda one: (_shared(one, path), _likeness(name, one[-1])))
        return f"did you mean {'.'.join(nearest)}?"
    return f"known here: {', '.join(fields)}" if fields else ""


def _of_other_member(kind: type[BaseModel], values: Any, path: Path, better_than: float = 0.0) -> str:
    """A hint that a field belongs to other members of its section's family than the one that is chosen.

    Args:
        path: Of the field, which may be misspelled.
        better_than: Likeness of the nearest field of the member that is chosen.
    """
    *section, name = path
    family = _section_at(kind, values, tuple(section))
    if family is None or not issubclass(family, Variant) or family.tag in family.model_fields:
        return ""
    alike = {field: _likeness(name, field) for member in family.members.values() for field in member.model_fields}
    field = max(alike, key=lambda one: alike[one])
    if alike[field] < FAR or alike[field] <= better_than:
        return ""
    owners = [tag for tag, member in family.members.items() if field in member.model_fields]
    if len(owners) == len(family.members):
        return "" if field == name else f"did you mean {'.'.join((*section, field))}?"
    named = " or ".join(owners) if len(owners) <= MOST_MEMBERS else ", ".join([*owners[:MOST_MEMBERS], "..."])
    chosen = _at(values, (*section, family.tag))
    full, selector = ".".join((*section, field)), ".".join((*section, family.tag))
    here = "" if chosen is None else f", and {selector} is {_shorten(str(chosen))}"
    head = f"{full} is" if field == name else f"did you mean {full}? It is"
    return f"{head} a field of {selector}={named}{here}"


def _shared(a: Path, b: Path) -> int:
    """How many names two paths begin with in common."""
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))


def _likeness(a: str, b: str) -> float:
    return difflib.SequenceMatcher(None, b, a).ratio()


def _quoted(value: Any) -> str:
    return _shorten(json.dumps(value, default=str))


def _shorten(text: str) -> str:
    text = without_secrets(text[: 20 * SHOWN])
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
