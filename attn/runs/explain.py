"""Explains fields of configs (type, range, default, meaning, paper, recipes that set them), and scores."""

from __future__ import annotations

__all__ = ["FieldPage", "Page", "ScorePage", "SectionPage", "explain"]

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from attn.config.base import Config, Variant
from attn.config.field_docs import descriptions, summary
from attn.config.field_words import default_words, range_words, type_words
from attn.errors import ConfigError, Fault
from attn.evaluation.score_meanings import MEANINGS, meaning_of
from attn.runs.field_tree import Place, dotted_fields, places
from attn.runs.papers import papers_in
from attn.runs.recipe_values import RecipeValue, set_by
from attn.runs.result import JsonResult
from attn.runs.table import file_kinds

MOST_NEAR = 4
KIND = "kind"


@dataclass(frozen=True, kw_only=True)
class FieldPage(JsonResult):
    """A field.

    Attributes:
        name: Its dotted name in the first command that has it.
        choices: Where its section is a choice: the choices that have it, such as `method.name=gain`.
        type, default, range: In words; an empty range has no bounds.
        names: Its dotted names by command.
    """

    name: str
    choices: list[str]
    meaning: str
    type: str
    default: str
    range: str
    papers: list[str]
    names: dict[str, list[str]]
    recipes: list[RecipeValue]


@dataclass(frozen=True, kw_only=True)
class SectionPage(JsonResult):
    """A section, or one choice of it.

    Attributes:
        choice: `method.name=gain` for a choice.
        choices: Of a section that is a choice: each with what it is.
        fields: Its own fields.
    """

    name: str
    choice: str | None
    meaning: str
    papers: list[str]
    choices: dict[str, str]
    fields: list[FieldPage]


@dataclass(frozen=True, kw_only=True)
class ScorePage(JsonResult):
    """A score.

    Attributes:
        score: Its name, without the split before it.
        of: What is scored.
        better: `higher` or `lower`.
        needs: What the data must have.
        commands: What computes it.
    """

    score: str
    of: str
    meaning: str
    range: str
    unit: str
    better: str
    needs: str
    source: str
    papers: list[str]
    commands: list[str]


Page = FieldPage | SectionPage | ScorePage


def explain(query: str) -> list[Page]:
    """What there is under a name: a field (`method.alpha`), a section (`training`), a choice, or a score (`seed_miou`).

    A field has a page for each meaning: those of several methods differ. A name without its section is looked for in
    all sections. A choice is `method.name=gain`; a score may have its split before it, as in `val/mean_ap`.

    Raises:
        ConfigError: There is none; the message names similar ones.
    """
    name, _, value = query.strip().partition("=")
    if pages := [*(_choice(name, value) if value else _section(name))]:
        return pages
    results = [(place, field) for place in places() for field in _fields(place) if place.field(field) == name]
    if not results:
        results = [(place, field) for place in places() for field in _fields(place) if field == name]
    matches: list[Page] = [*_score_pages(query.strip()), *_field_pages(results), *_sections_of(results)]
    if matches:
        return matches
    if name == KIND:
        return [_kind_page()]
    raise ConfigError([_unknown(query, name, value)])


def _sections_of(fields: Iterable[tuple[Place, str]]) -> list[SectionPage]:
    """The sections that these fields are, each once, wherever it stands."""
    pages: dict[tuple[str, ...], SectionPage] = {}
    for path in dict.fromkeys(place.field(name) for place, name in fields):
        for page in _section(path):
            said = (page.meaning, *(one.name.rpartition(".")[2] for one in page.fields), *page.choices.values())
            pages.setdefault(said, page)
    return list(pages.values())


def _score_pages(query: str) -> list[ScorePage]:
    if (entry := meaning_of(query)) is None:
        return []
    name, known = entry
    return [
        ScorePage(
            score=name,
            of=known.of,
            meaning=known.text,
            range=known.range,
            unit=known.unit,
            better=known.better,
            needs=known.needs,
            source=known.source,
            papers=papers_in(known.source),
            commands=list(known.commands),
        )
    ]


def _kind_page() -> FieldPage:
    """The field that says what kind of run a file describes: each kind has a class of its own."""
    kinds = file_kinds()
    return FieldPage(
        name=KIND,
        choices=[],
        meaning="The kind of run that a file describes; a file without it is a training of a classifier.",
        type=", ".join(kinds),
        default="train",
        range="",
        papers=[],
        names={kind: [KIND] for kind in kinds},
        recipes=[],
    )


def _fields(place: Place) -> list[str]:
    return list(descriptions(place.config))


def _unknown(query: str, name: str, value: str) -> Fault:
    if value and (choices := _choices_at(name)):
        near = difflib.get_close_matches(value, choices, n=1)
        meant = f"did you mean {name}={near[0]}? " if near else ""
        return Fault(query, f"{name} has no choice {value!r}", f"{meant}one of {', '.join(choices)}")
    known = list(dict.fromkeys((*filter(None, dotted_fields()), *MEANINGS)))
    near = difflib.get_close_matches(name, known, n=MOST_NEAR, cutoff=0.7)
    if not near:
        fields = [one for one in known if one not in MEANINGS]
        lasts = difflib.get_close_matches(name.rpartition(".")[2], {one.rpartition(".")[2] for one in fields}, n=2)
        near = [one for one in fields if one.rpartition(".")[2] in lasts][:MOST_NEAR]
    hint = f"did you mean {', '.join(near)}?" if near else "`attn explain training` lists a section's fields"
    return Fault(query, "is no field, no section of a config and no score", hint)


def _choices_at(name: str) -> list[str]:
    """The choices of the field that selects one, such as `method.name`."""
    path, _, tag = name.rpartition(".")
    return sorted({place.choice.partition("=")[2] for place in places()
                   if place.path == path and place.choice.startswith(f"{tag}=")})  # fmt: skip


def _choice(name: str, value: str) -> list[Page]:
    path, _, tag = name.rpartition(".")
    results = {
        place.config: place for place in reversed(places()) if (place.path, place.choice) == (path, f"{tag}={value}")
    }
    return [_section_page(place) for place in results.values()]


def _section(name: str) -> list[SectionPage]:
    """The sections of a name; a section that is a choice has one page with its choices."""
    here = [place for place in places() if name in (place.path, f"{place.path}.{place.choice.partition('=')[0]}")]
    plain = {place.config: place for place in here if not place.choice and place.path == name}
    families: dict[type[Config], dict[str, str]] = {}
    for place in here:
        if place.choice:
            families.setdefault(_family(place), {})[f"{place.path}.{place.choice}"] = summary(place.config)
    return [
        *(_section_page(place) for place in plain.values() if name),
        *(
            SectionPage(name=name, choice=None, meaning=summary(family), papers=[], choices=choices, fields=[])
            for family, choices in families.items()
        ),
    ]


def _family(place: Place) -> type[Config]:
    """The class of which a choice is a member."""
    tag, _, value = place.choice.partition("=")
    bases = [base for base in place.config.__mro__[1:] if issubclass(base, Variant) and base.tag == tag]
    return next(base for base in reversed(bases) if base.members.get(value) is place.config)


def _section_page(place: Place) -> SectionPage:
    fields = [page for name in descriptions(place.config) for page in _field_pages([(place, name)], recipes=False)]
    meaning = summary(place.config)
    return SectionPage(
        name=place.path or f"attn {place.command}",
        choice=f"{place.path}.{place.choice}" if place.choice else None,
        meaning=meaning,
        papers=papers_in(f"{meaning} {_module_head(place.config)}"),
        choices={},
        fields=fields,
    )


def _field_pages(fields: Iterable[tuple[Place, str]], *, recipes: bool = True) -> Iterator[FieldPage]:
    """A page for each meaning of a field; places that say the same of it share one."""
    groups: dict[tuple[str, ...], list[tuple[Place, str]]] = {}
    for place, name in fields:
        info = place.config.model_fields[name]
        words = type_words(info.annotation, info.metadata, _class_words)
        bounds = range_words(info.annotation, info.metadata)
        said = (name, descriptions(place.config)[name], words, default_words(info), bounds)
        groups.setdefault(said, []).append((place, name))
    for (name, meaning, kind, default, bounds), members in groups.items():
        first = members[0][0]
        choices = list(dict.fromkeys(f"{place.path}.{place.choice}" for place, _ in members if place.choice))
        classes = {place.config for place, _ in members}
        names: dict[str, list[str]] = {}
        for place in places():
            if place.config in classes and place.field(name) not in names.setdefault(place.command, []):
                names[place.command].append(place.field(name))
        yield FieldPage(
            name=first.field(name),
            choices=choices,
            meaning=meaning,
            type=kind.replace("`", ""),
            default=default.replace("`", ""),
            range=bounds,
            papers=papers_in(f"{meaning} {_module_head(first.config)}"),
            names=names,
            recipes=list(set_by(name, [place for place in places() if place.config in classes])) if recipes else [],
        )


def _class_words(config: type[Config]) -> str:
    """What a section is called in a field's type."""
    if issubclass(config, Variant) and config.tag in config.model_fields:
        return str(config.model_fields[config.tag].default)
    return "a section"


def _module_head(config: type[Config]) -> str:
    """The first line of the module that defines a config: it names the paper of a method."""
    import importlib

    return (importlib.import_module(config.__module__).__doc__ or "").partition("\n")[0]
