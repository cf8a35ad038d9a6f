"""Which recipes set a field of a config, and to what."""

from __future__ import annotations

__all__ = ["RecipeValue", "set_by"]

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from attn.config.document import read_document
from attn.runs.field_tree import Place
from attn.runs.recipes import list_recipes
from attn.runs.result import JsonResult

ABOVE_SECTIONS = ("root", "tracking", "data", "seed", "cluster")
"""Fields that a pipeline's file may give above its sections."""


@dataclass(frozen=True)
class RecipeValue(JsonResult):
    """A recipe that sets a field.

    Attributes:
        field: The field's dotted name in the recipe.
        value: The value; of a searched field its choices or range.
    """

    recipe: str
    field: str
    value: Any


def set_by(name: str, at: list[Place]) -> Iterator[RecipeValue]:
    """The recipes that set a field at one of its places."""
    for recipe in list_recipes():
        values = read_document(recipe.text, recipe.name).values
        kind = str(values.get("kind", "train"))
        seen: set[str] = set()
        for place in at:
            for path, dotted, section in _where(place, name, kind, values):
                if dotted in seen or not _is_choice(section, place):
                    continue
                seen.add(dotted)
                yield RecipeValue(recipe.name, dotted, path)


def _where(place: Place, name: str, kind: str, values: Mapping[str, Any]) -> Iterator[tuple[Any, str, Any]]:
    """Values of a field in a recipe, with its dotted name there and the section that holds it."""
    field = place.field(name)
    if kind == "sweep":
        base = _base(values)
        if place.command != base.get("kind", "train"):
            return
        for part in ("set", "space"):
            section = values.get(part)
            for dotted, value in _flat(section if isinstance(section, dict) else {}):
                if dotted == field:
                    yield value, f"{part}.{dotted}", _at(base, place.path)
        return
    above = kind == "pipeline" and field.partition(".")[0] in ABOVE_SECTIONS
    if place.command != kind and not above:
        return
    section = _at(values, place.path)
    if isinstance(section, Mapping) and name in section:
        yield section[name], field, section


def _base(sweep: Mapping[str, Any]) -> Mapping[str, Any]:
    """The recipe that a sweep's recipe searches."""
    name = sweep.get("recipe", sweep.get("base"))
    return next((read_document(one.text, one.name).values for one in list_recipes() if one.name == name), {})


def _at(values: Mapping[str, Any], path: str) -> Any:
    section: Any = values
    for key in filter(None, path.split(".")):
        section = section.get(key) if isinstance(section, Mapping) else None
    return section


def _is_choice(section: Any, place: Place) -> bool:
    tag, _, choice = place.choice.partition("=")
    return not tag or not isinstance(section, Mapping) or section.get(tag, choice) == choice


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves and inner mappings by their dotted names: `space` holds ranges, `set` values."""
    for key, value in values.items():
        yield f"{prefix}{key}", value
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
