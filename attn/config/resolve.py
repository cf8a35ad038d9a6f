"""Turns recipe, file and overrides into a validated config; reports all faults, each with its location and a hint."""

from __future__ import annotations

__all__ = [
    "Objection",
    "drop_other_members",
    "dump_config",
    "extra_check",
    "override",
    "parse_config",
    "merged",
    "rank_in",
    "read_text",
    "resolve",
    "resolve_document",
]

import contextlib
import difflib
import json
import re
import types
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from attn.config.base import Config, Variant
from attn.config.document import (
    DATA,
    OVERRIDE,
    SOURCE,
    Document,
    Path,
    PlacedOverride,
    dump_values,
    fields_in,
    layered,
    override_location,
    parse_override,
    read_document,
    sources_in,
    text_name,
)
from attn.config.exclusive import EXCLUSIVE, STEEPEST
from attn.config.fault_words import how_to_write, plain_message
from attn.errors import ConfigError, Fault
from attn.notices import print_once
from attn.redaction import without_secrets
from attn.regular_files import read_regular

C = TypeVar("C", bound=Config)
MAX_FAULTS = 100
"""Maximum number of faults in a message; looking for misspelled names takes time."""
MAX_BYTES = 4 << 20
SHOWN = 200
"""Maximum characters of a wrong value in a message."""
Objection = tuple[Path, str, str]
"""An objection to a value of a config: its path, what is wrong, how to fix it."""
Check = Callable[[Config], Iterable[Objection]]
Defaults = Callable[[Mapping[str, Any]], Mapping[Path, Any]]
ValuesCheck = Callable[[Mapping[str, Any]], Iterable[Objection]]
_checks: list[tuple[Check, ValuesCheck | None]] = []


@contextlib.contextmanager
def extra_check(check: Check, before: ValuesCheck | None = None) -> Generator[None]:
    """Inside the `with` block, run an additional check on every config that is resolved, in all threads.

    Args:
        before: Checks a config's values before they are validated, since validating may run code that a value names.
            Values that it objects to are not validated.
    """
    _checks.append((check, before))
    try:
        yield
    finally:
        _checks.remove((check, before))


def resolve(kind: type[C], text: str, name: str, overrides: list[str], *, defaults: Defaults | None = None) -> C:
    """Parse a YAML text, apply overrides, and validate the result as a config class.

    An override that selects another member of a family (`optimizer.name=sgd` over a recipe for AdamW) removes the
    text's fields that the new member does not have. An override that changes a `source` (`data.source=manifest` over a
    recipe for VOC) removes all fields that belong to the former source.

    Args:
        name: Name of the text in messages, usually its file.
        overrides: `a.b=value` each; later ones win.
        defaults: Called with the values of text and overrides. Returns values by path for fields that neither sets, in
            sections that are present.

    Raises:
        ConfigError: Lists all faults.
    """
    document = read_document(text, name)
    override(document, overrides)
    for path, value in (defaults(document.values) if defaults else {}).items():
        if path[-1] not in document.section(path[0]).values and document.section(path[0]).values:
            document.set(path, value, location=name)
    drop_other_members(kind, document, rank_in([document]))
    return parse_config(kind, document)


def resolve_document(kind: type[C], documents: Sequence[Document], overrides: list[str]) -> C:
    """As `resolve`, for texts that are read already; later ones lie over earlier ones."""
    document = layered(*documents)
    override(document, overrides)
    drop_other_members(kind, document, rank_in(documents))
    return parse_config(kind, document)


def merged(kind: type[Config], documents: Sequence[Document]) -> Document:
    """Texts of one kind as one document; later ones lie over earlier ones."""
    document = layered(*documents)
    drop_other_members(kind, document, rank_in(documents))
    return document


def override(document: Document, overrides: list[str]) -> None:
    """Apply overrides `a.b=value` to a document; a malformed override becomes a fault of the document."""
    unread = [text for text in overrides if isinstance(text, PlacedOverride) and text.fault is not None]
    document.unread |= {tuple(text.partition("=")[0].strip().split(".")) for text in unread}
    parsed = [(text, parse_override(text)) for text in overrides]
    document.faults += [fault for _, fault in parsed if isinstance(fault, Fault)]
    assignments = [(text, *item) for text, item in parsed if not isinstance(item, Fault)]
    chosen, exclusive = dict[Path, Any](), dict[Path, Any]()
    for _, path, value in assignments:
        chosen |= sources_in({path[-1]: value}, path[:-1])
        exclusive |= fields_in({path[-1]: value}, EXCLUSIVE, path[:-1])
    for path, source in chosen.items():
        document.change_source(path, source)
    for path, value in exclusive.items():
        document.change_exclusive(path, value, chosen.get((*path[:-1], SOURCE)))
    for text, path, value in assignments:
        document.set(path, value, location=override_location(text))
        if isinstance(text, PlacedOverride):
            document.locations[path[:-1]] = text.location


def _tell_dropped(document: Document, rates: Mapping[Path, Any]) -> None:
    """Say which rates of a recipe do not hold for the chosen data."""
    for section in dict.fromkeys(path[:-3] for path in rates):
        data, own = document.section(section[0]) if section else document, ".".join((*section, ""))
        values = data.section(DATA).values
        declared = values.get(EXCLUSIVE) is True
        why = f"{EXCLUSIVE}=true says that images have" if declared else f"source={values.get(SOURCE)} has"
        named = [f"{'.'.join(path)}={value:g}" for path, value in rates.items() if path[:-3] == section]
        be = "is" if len(named) == 1 else "are"
        print_once(
            f"note: {own}data.{why} one label an image, so {' and '.join(named)}, which {be} for "
            f"several, {be} left out: {STEEPEST:g} holds"
        )


def rank_in(documents: Sequence[Document]) -> Callable[[str], int]:
    """Priority of a value by its location: a later document wins over an earlier one, and an override over any."""
    ranks = {name: number for number, one in enumerate(documents) for name in (one.name, *one.included) if name}
    return lambda location: ranks.get(text_name(location), len(documents))


def parse_config(kind: type[C], document: Document) -> C:
    """Validate a document as a config class.

    Raises:
        ConfigError: Lists all faults.
    """
    _tell_dropped(document, document.drop_former_rates())
    faults = list(document.faults)
    for path, message, hint in [one for _, before in _checks if before for one in before(document.values)]:
        faults.append(Fault(document.location(path), f"{'.'.join(path)} {message}", hint))
        document.drop(path)
    try:
        config = kind.model_validate_json(json.dumps(document.values, default=str), strict=True)
    except ValidationError as error:
        details = error.errors(include_url=False)
        details = [one for one in details if not _is_unread(document, _path(kind, one["loc"], document.values))]
        faults += [_fault(kind, document, one) for one in details[:MAX_FAULTS]]
        if len(details) > MAX_FAULTS:
            faults.append(Fault("config", f"and {len(details) - MAX_FAULTS} more"))
    else:
        objections = [*_lacking(config), *(one for check, _ in _checks for one in check(config))]
        for path, message, hint in objections:
            faults.append(Fault(document.location(path), f"{'.'.join(path)} {message}", hint))
        if not faults:
            return config
    raise ConfigError(faults)


def _is_unread(document: Document, path: Path) -> bool:
    """Whether a field is of data whose file could not be read. A section without data of its own has the whole's."""
    return ((DATA,) in document.unread and DATA in path) or any(path[: len(one)] == one for one in document.unread)


def _lacking(config: Config, path: Path = ()) -> Iterator[Objection]:
    """What this machine lacks for a config or those inside it."""
    if (lack := config.lacking()) is not None:
        yield (path, *lack)
    for name, value in config:
        for number, inner in enumerate(value) if isinstance(value, tuple) else [(None, value)]:
            if isinstance(inner, Config):
                yield from _lacking(inner, (*path, name, *([] if number is None else [str(number)])))


def dump_config(config: Config, comment: str = "") -> str:
    """The config as YAML with every field; `resolve` reads it back to an equal config."""
    body = dump_values(json.loads(config.model_dump_json()))
    return "".join(f"# {line}\n" for line in comment.splitlines()) + body


def read_text(path: str) -> str:
    """The text of a config file.

    Raises:
        ConfigError: It cannot be read, or is too large.
    """
    try:
        return read_regular(path, MAX_BYTES).decode()
    except UnicodeDecodeError:
        reason = "is not UTF-8 text"
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
    raise ConfigError([Fault(path, f"cannot be read: {reason}", "give a recipe's name or a YAML file")])


def _configs_in(annotation: Any) -> list[type[BaseModel]]:
    """The config classes in a field's annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Union, types.UnionType):
        return [item for option in get_args(annotation) for item in _configs_in(option)]
    return []


def _member(kind: type[BaseModel], values: Any) -> type[BaseModel] | None:
    """The class that validates `values`: the selected member if `kind` is a family, else `kind`."""
    if issubclass(kind, Variant) and kind.tag and kind.tag not in kind.model_fields:
        tag = values.get(kind.tag) if isinstance(values, dict) else None
        return kind.members.get(tag) if isinstance(tag, str) else None
    return kind


def drop_other_members(kind: type[BaseModel], document: Document, rank: Callable[[str], int], path: Path = ()) -> None:
    """Remove fields that a family's selected member does not have, if the selection has priority over them.

    Args:
        rank: Priority of a location; higher wins.
    """
    values: Any = document.values
    for key in path:
        values = values.get(key) if isinstance(values, dict) else None
    if not isinstance(values, dict):
        return
    member = _member(kind, values)
    if member is None:
        return
    if issubclass(member, Variant):
        chosen = rank(document.location((*path, member.tag)))
        for key in [key for key in values if key not in member.model_fields]:
            if rank(document.location((*path, key))) < chosen:
                document.drop((*path, key))
    for name, info in member.model_fields.items():
        for inner in _configs_in(info.annotation):
            drop_other_members(inner, document, rank, (*path, name))


def _class_at(kind: type[BaseModel], values: Any, path: Path) -> type[BaseModel] | None:
    """The config class of the mapping at a path."""
    member = _member(kind, values)
    for key in path:
        if member is None or key not in member.model_fields:
            return None
        values = values.get(key) if isinstance(values, dict) else None
        inner = _configs_in(member.model_fields[key].annotation)
        member = _member(inner[0], values) if inner else None
    return member


def _section_at(kind: type[BaseModel], values: Any, path: Path) -> type[BaseModel] | None:
    """The config class of the section that the field at a path is; None if it is a value, or several may be meant."""
    owner = _class_at(kind, values, path[:-1]) if path else None
    sections = _configs_in(owner.model_fields[path[-1]].annotation) if owner and path[-1] in owner.model_fields else []
    return sections[0] if len(sections) == 1 else None


def _field_paths(kind: type[BaseModel], values: Any, prefix: str = "") -> dict[str, str]:
    """One full path for every field name in the tree."""
    member = _member(kind, values)
    results: dict[str, str] = {}
    for name, info in member.model_fields.items() if member else ():
        inner = values.get(name) if isinstance(values, dict) else None
        for option in _configs_in(info.annotation):
            results.update(
                {k: v for k, v in _field_paths(option, inner, f"{prefix}{name}.").items() if k not in results}
            )
        results[name] = f"{prefix}{name}"
    return results


def _path(kind: type[BaseModel], loc: tuple[int | str, ...], values: Any) -> Path:
    """The keys of a pydantic location, without the family tags that pydantic inserts."""
    path: list[str] = []
    member: type[BaseModel] | None = kind
    for key in map(str, loc):
        if member is not None and issubclass(member, Variant) and member.tag not in member.model_fields:
            member = member.members.get(key)
            continue
        path.append(key)
        inner = _configs_in(member.model_fields[key].annotation) if member and key in member.model_fields else []
        member = inner[0] if inner else None
    return tuple(path)


def _fault(kind: type[Config], document: Document, details: ErrorDetails) -> Fault:
    path = _path(kind, details["loc"], document.values)
    where, name, what = document.location(path), ".".join(path), details["type"]
    if what == "extra_forbidden":
        owner = _class_at(kind, document.values, path[:-1])
        near = difflib.get_close_matches(path[-1], list(owner.model_fields) if owner else [], n=1, cutoff=0.5)
        paths = _field_paths(kind, document.values)
        far = difflib.get_close_matches(path[-1], list(paths), n=1, cutoff=0.75)
        if path == ("base",):
            hint = "did you mean recipe?"  # `base` was a sweep's word for it
        elif near:
            hint = f"did you mean {'.'.join((*path[:-1], near[0]))}?"
        elif far:
            hint = f"did you mean {paths[far[0]]}?"
        else:
            hint = f"known here: {', '.join(owner.model_fields)}" if owner else ""
        return Fault(where, f"{name} is not a known field", hint)
    if what in ("union_tag_invalid", "union_tag_not_found", "literal_error"):
        context = details.get("ctx", {})
        options = str(context.get("expected_tags") or context.get("expected") or "").replace("'", "")
        given = context.get("tag", details["input"])
        if what == "union_tag_not_found":
            family = _section_at(kind, document.values, path)
            tag, members = (family.tag, family.members) if family and issubclass(family, Variant) else ("name", {})
            return Fault(where, f"{name}.{tag} is missing", f"one of {', '.join(members)}")
        if what == "union_tag_invalid":
            name += "." + str(context.get("discriminator", "")).strip("'")
            where = document.location((*path, name.rsplit(".", 1)[-1]))
        near = difflib.get_close_matches(str(given), options.replace(" or ", ", ").split(", "), n=1)
        hint = f"one of {options}" + (f"; did you mean {near[0]}?" if near else "")
        return Fault(where, f"{name} = {_shorten(repr(given))} is not available", hint)
    if what == "missing":
        return Fault(where, f"{name} is missing", f"give it, e.g. {name}=...")
    section = _section_at(kind, document.values, path)
    message, hint, given = plain_message(details, section), how_to_write(name, details, section), details["input"]
    if isinstance(given, dict) or not path:
        return Fault(_override_in(document, path, message) or where, f"{name}: {message}" if name else message, hint)
    return Fault(where, f"{name} = {_quoted(given)} {message}", hint)


def _override_in(document: Document, section: Path, message: str) -> str | None:
    """The override that sets the first such field among those that a message about a section names, as `a.b=value`."""
    for field in re.findall(r"[a-z_]\w*(?:\.\w+)*(?= ?=)", message):
        for path in ((*section, *field.split(".")), tuple(field.split("."))):
            if path in document.locations and document.locations[path].startswith(OVERRIDE):
                return document.locations[path]
    return None


def _quoted(value: Any) -> str:
    return _shorten(json.dumps(value, default=str))


def _shorten(text: str) -> str:
    text = without_secrets(text[: 20 * SHOWN])
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
