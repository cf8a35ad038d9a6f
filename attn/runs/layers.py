"""A run's file with what it names: the recipe that it starts from, and files of data.

`recipe: NAME` puts another file below this one: its fields count where this file gives none. `data: FILE` stands for
the fields in that file. Neither key is in the result, except a sweep's recipe if that is the run that is searched.
"""

from __future__ import annotations

__all__ = ["DATA", "RECIPE", "Layers", "follow", "read_layers", "section_layers", "with_data"]

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from attn.config.document import (
    DATA,
    SOURCE,
    SOURCE_INDEPENDENT,
    Document,
    PlacedOverride,
    layered,
    override_location,
    override_of,
    parse_override,
    read_document,
    sources_in,
    text_name,
)
from attn.config.resolve import override
from attn.errors import ConfigError, Fault
from attn.notices import renamed
from attn.runs.table import file_kinds
from attn.runs.texts import RECIPES_ONLY, Texts

RECIPE, BASE, SWEEP = "recipe", "base", "sweep"
MAX_CHAIN = 16
"""Maximum number of texts that start from one another."""


class Layers(NamedTuple):
    """The texts of a run, the lowest first, and the overrides over them.

    Attributes:
        texts: Finds what the texts' sections name.
        searched: Of a sweep the texts of the run that it searches; empty if they were not found.
    """

    documents: tuple[Document, ...]
    overrides: list[str]
    texts: Texts
    searched: tuple[Document, ...] = ()

    @property
    def whole(self) -> Document:
        """All texts as one, without the overrides."""
        return layered(*self.documents)


def read_layers(text: str, name: str, overrides: Iterable[str] = (), texts: Texts = RECIPES_ONLY) -> Layers:
    """Read a run's text and all that it starts from.

    Args:
        name: Name of the text in messages.
        overrides: `a.b=value` each. `recipe=NAME` starts from another recipe, `data=FILE` gives the fields in a file.

    Raises:
        ConfigError: Something that is named is missing, is of another kind, or starts from itself.
    """
    document, others = read_document(text, name), list[str]()
    for one in overrides:
        parsed = parse_override(one)
        if not isinstance(parsed, Fault) and (
            parsed[0] == (RECIPE,) or (parsed[0] == (BASE,) and document.values.get("kind") == SWEEP)
        ):
            document.set(*parsed, override_location(one))
        else:
            others.append(one)
    documents, searched = _chain(document, texts, [name])
    return Layers(documents, with_data(others, texts), texts, searched)


def with_data(overrides: Iterable[str], texts: Texts) -> list[str]:
    """Overrides with each `data=FILE` replaced by the fields in the file, which the other overrides lie over.

    A file that is not there, or is not the fields of a data section, becomes an override that has this fault, so that
    it is reported with the other faults of the config.
    """
    plain, files, chosen = list[str](), list[tuple[str, Document]](), dict[tuple[str, ...], Any]()
    for text in overrides:
        parsed = parse_override(text)
        if isinstance(parsed, Fault) or parsed[0][-1] != DATA or not isinstance(parsed[1], str):
            plain.append(text)
            if not isinstance(parsed, Fault):
                chosen |= sources_in({parsed[0][-1]: parsed[1]}, parsed[0][:-1])
            continue
        field, location = ".".join(parsed[0]), override_location(text)
        document = _data_document(parsed[1], "", field, location, texts)
        plain += [PlacedOverride.at(location, text, fault) for fault in document.faults]
        files.append((field, document))
    placed = list[str]()
    for field, document in files:
        source = chosen.get((*field.split("."), SOURCE))
        replaced = source is not None and source != document.values.get(SOURCE)
        placed += [
            PlacedOverride.at(document.location((key,)), override_of(f"{field}.{key}", value))
            for key, value in document.values.items()
            if not replaced or key in SOURCE_INDEPENDENT
        ]
    return placed + plain


def section_layers(document: Document, section: str, reference: str, texts: Texts) -> Layers:
    """What a section of a text starts from.

    Raises:
        ConfigError: As `read_layers`.
    """
    return read_layers(*texts.recipe(reference, text_name(document.location((section, RECIPE)))), [], texts)


def follow(layers: Layers) -> None:
    """Read every file that sections, overrides and a sweep name as a recipe, so that all of them are known."""
    _follow(layers, {document.name for document in layers.documents})


def _follow(layers: Layers, names: set[str]) -> None:
    given = Document()
    override(given, layers.overrides)
    for document in (*layers.documents, given):
        for path, reference in _recipes(document.values):
            text = layers.texts.recipe(reference, text_name(document.location(path)))
            if text.name not in names:  # else it was read before, perhaps as the text that names itself
                names.add(text.name)
                _follow(read_layers(*text, [], layers.texts), names)


def _recipes(values: dict[str, Any]) -> Iterator[tuple[tuple[str, ...], str]]:
    for key, value in values.items():
        if key == RECIPE and isinstance(value, str):
            yield (key,), value
        elif isinstance(value, dict) and isinstance(value.get(RECIPE), str):
            yield (key, RECIPE), value[RECIPE]


def _chain(document: Document, texts: Texts, names: Sequence[str]) -> tuple[tuple[Document, ...], tuple[Document, ...]]:
    """A text with all that it starts from, the lowest first; and the texts of the run that a sweep searches."""
    _rename_base(document)
    _place_data(document, texts)
    if RECIPE not in document.values:
        return (document,), ()
    reference, location = document.values[RECIPE], document.location((RECIPE,))
    if not isinstance(reference, str):
        raise ConfigError([Fault(location, "recipe must be a text", "the name of a recipe, or of a YAML file")])
    own = document.values.get("kind")
    try:
        text = texts.recipe(reference, text_name(location))
    except ConfigError as error:
        if own == SWEEP:  # looked up again with the sweep, which reports all faults at once
            return (document,), ()
        raise ConfigError([_named(location, RECIPE, fault) for fault in error.faults]) from None
    _check_length(reference, location, [*names, text.name])
    under, searched = _chain(read_document(*text), texts, [*names, text.name])
    kind = layered(*under).values.get("kind", "train")
    if own == SWEEP and kind != SWEEP:
        return (document,), under
    if own in file_kinds() and own != kind:
        raise ConfigError([Fault(location, f"recipe = {reference} is of kind {kind}, not {own}",
                                 f"name a recipe of kind {own}, or leave kind out")])  # fmt: skip
    document.drop((RECIPE,))
    return (*under, document), searched


def _check_length(reference: str, location: str, names: Sequence[str]) -> None:
    """Check that no text starts from itself, and that not too many start from one another."""
    last = names[-1]
    if last in names[:-1]:
        way = " -> ".join(names[names.index(last) :])
        raise ConfigError([Fault(location, f"recipe = {reference} starts from itself: {way}", "name another recipe")])
    if len(names) > MAX_CHAIN:
        message = f"recipe = {reference}: more than {MAX_CHAIN} files start from one another"
        raise ConfigError([Fault(location, message, "put some of them into one")])


def _rename_base(document: Document) -> None:
    """Give a sweep's `base` its present name."""
    if document.values.get("kind") != SWEEP or BASE not in document.values:
        return
    base, location = document.values[BASE], document.location((BASE,))
    document.drop((BASE,))
    if RECIPE in document.values:
        document.faults.append(Fault(location, "base is the former name of recipe, which is given too", "keep recipe"))
        return
    renamed(f"base: {base}", f"recipe: {base}")
    document.set((RECIPE,), base, location)


def _place_data(document: Document, texts: Texts) -> None:
    """Put the fields in a file in place of its name in `data`, also of a section."""
    sections = [(key, DATA) for key, value in document.values.items() if isinstance(value, dict) and key != DATA]
    for path in [(DATA,), *sections]:
        values = document.values if len(path) == 1 else document.values[path[0]]
        reference = values.get(DATA)
        if not isinstance(reference, str):
            continue
        location = document.location(path)
        result = _data_document(reference, text_name(location), ".".join(path), location, texts)
        if result.unread:
            document.faults += result.faults
            document.unread.add(path)
            document.drop(path)
            continue
        document.set(path, result.values, result.location(()))
        document.locations |= {(*path, *inner): place for inner, place in result.locations.items() if inner}
        document.included.append(result.name)


def _data_document(reference: str, by: str, field: str, location: str, texts: Texts) -> Document:
    """The fields in a file of data; unread and with the faults if there is no such file, or it is something else."""
    try:
        text = texts.data(reference, by)
    except ConfigError as error:
        return Document(faults=[_named(location, field, fault) for fault in error.faults], unread={()})
    try:
        document = read_document(*text)
    except ConfigError as error:
        return Document(faults=error.faults, unread={()})
    if DATA in document.values:
        is_section = isinstance(document.values[DATA], dict)
        problem = "the file is itself a section `data`" if is_section else "the file names another file of data"
        document.faults.append(Fault(document.location((DATA,)), f"data: {problem}",
                                     "write its fields, such as source and root, without a section"))  # fmt: skip
    if not document.values:
        document.faults.append(Fault(text.name, "has no fields", "such as source and root"))
    return Document(faults=document.faults, unread={()}) if document.faults else document


def _named(location: str, field: str, fault: Fault) -> Fault:
    return Fault(location, f"{field} = {fault.where} {fault.message}", fault.hint)
