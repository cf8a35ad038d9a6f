"""The recipe that a run starts from, for its record."""

from __future__ import annotations

__all__ = ["Started", "recipe_in", "recipe_of", "started", "started_from"]

import contextlib
from collections.abc import Generator, Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from attn.config.base import Config
from attn.errors import ConfigError
from attn.runs.composed import ComposedConfig
from attn.runs.layers import read_layers
from attn.runs.recipes import RECIPE_PREFIX, Recipe, config_text, find_recipe, load_any_config, recipe_paths
from attn.runs.texts import LOCAL_TEXTS, RECIPES_ONLY, Texts


@dataclass(frozen=True)
class Started:
    """A recipe with its config.

    Attributes:
        config: None if the recipe is not complete by itself.
    """

    recipe: Recipe
    config: Any = None

    def baseline(self, config: Config) -> Config | None:
        """The recipe's config of the same class; for a stage of a pipeline the section of its class."""
        sections = self.config.sections().values() if isinstance(self.config, ComposedConfig) else ()
        return next((one for one in (self.config, *sections) if type(one) is type(config)), None)


_STARTED: ContextVar[Started | None] = ContextVar("started", default=None)


@contextlib.contextmanager
def started_from(recipe: str | None) -> Generator[None]:
    """Inside the `with` block, runs of this thread are recorded as started from a recipe; None: from none."""
    token = _STARTED.set(None if recipe not in recipe_paths() else _started(find_recipe(recipe)))
    try:
        yield
    finally:
        _STARTED.reset(token)


def started() -> Started | None:
    """What runs of this thread start from."""
    return _STARTED.get()


def recipe_of(target: str, overrides: Iterable[str] = ()) -> str | None:
    """The recipe that a user names: by its name, by a file that starts from it, or by an override `recipe=NAME`."""
    return recipe_in(*config_text(target), LOCAL_TEXTS, overrides)


def recipe_in(text: str, name: str, texts: Texts = RECIPES_ONLY, overrides: Iterable[str] = ()) -> str | None:
    """The recipe that a run's text starts from, also by way of other files; None without one."""
    try:
        layers = read_layers(text, name, overrides, texts)
    except ConfigError:
        return None
    lowest = next((one for one in (*layers.documents, *layers.searched) if one.name.startswith(RECIPE_PREFIX)), None)
    return None if lowest is None else lowest.name.removeprefix(RECIPE_PREFIX)


def _started(recipe: Recipe) -> Started:
    try:
        return Started(recipe, load_any_config(recipe.name, []))
    except ConfigError:
        return Started(recipe)
