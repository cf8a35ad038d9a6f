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
    "resolve",
    "resolve_document",
]

import contextlib
import json
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from attn.config.base import Config, Variant
from attn.config.document import (
    DATA,
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
from attn.config.faults import configs_in, faults_of, location_of, member_of
from attn.errors import ConfigError, Fault
from attn.notices import print_once

C = TypeVar("C", bound=Config)
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
        faults += faults_of(kind, document, error)
    else:
        objections = [*_lacking(config), *(one for check, _ in _checks for one in check(config))]
        for path, message, hint in objections:
            said = f"{'.'.join(path)} {message}"
            faults.append(Fault(location_of(document, path, said), said, hint))
        if not faults:
            return config
    raise ConfigError(faults)


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
    member = member_of(kind, values)
    if member is None:
        return
    if issubclass(member, Variant):
        chosen = rank(document.location((*path, member.tag)))
        for key in [key for key in values if key not in member.model_fields]:
            if rank(document.location((*path, key))) < chosen:
                document.drop((*path, key))
    for name, info in member.model_fields.items():
        for inner in configs_in(info.annotation):
            drop_other_members(inner, document, rank, (*path, name))
