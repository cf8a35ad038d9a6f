"""Recipes: configs that come with the project, each a document with paper, measured score, time and command on top."""

from __future__ import annotations

__all__ = [
    "FORMER_NAMES",
    "GROUPS",
    "RECIPE_PREFIX",
    "Recipe",
    "config_text",
    "find_recipe",
    "is_path",
    "list_recipes",
    "load_any_config",
    "load_any_run",
    "load_config",
    "load_run",
    "recipe_paths",
    "recipe_text",
]

import difflib
import importlib.util
import itertools
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from attn.config.document import RECIPE_PREFIX
from attn.errors import ConfigError, Fault
from attn.files.nearest import read_text
from attn.notices import print_once, renamed

if TYPE_CHECKING:
    from attn.runs.composed import ComposedConfig
    from attn.runs.layers import Layers
    from attn.runs.sweep.config import SweepConfig
    from attn.training.run_config import RunConfig

C = TypeVar("C", bound="RunConfig")
GROUPS = ("scenes", "photographs", "claims", "paper", "sweeps")
"""The folders of `jobs/recipes`, in the order in which recipes are listed."""
MOST_NEAR = 3
"""Recipes that are suggested for a name that is none."""
FORMER_NAMES = {"segment": "cross_entropy"}
"""Recipe by the name that it had in version 0.1."""


@dataclass(frozen=True)
class Recipe:
    """A recipe file."""

    name: str
    path: Path
    text: str

    @property
    def group(self) -> str:
        """The folder that holds it, one of `GROUPS`."""
        return self.path.parent.name

    @property
    def header(self) -> str:
        """The comment on top, without its `#` signs."""
        lines = itertools.takewhile(lambda line: line.startswith("#"), self.text.splitlines())
        return "\n".join(line.removeprefix("#").removeprefix(" ") for line in lines)

    @property
    def summary(self) -> str:
        """The header's first line."""
        return self.header.partition("\n")[0]

    @property
    def time(self) -> str:
        """What the header says under `Time`; empty if it says nothing."""
        match = re.search(r"^Time:\s+(.*(?:\n .*)*)", self.header, re.MULTILINE)
        return "" if match is None else " ".join(match[1].split())


def _folder() -> Path:
    """The folder of the recipes, in the `jobs` package, which is found but not imported."""
    spec = importlib.util.find_spec("jobs")
    locations = spec.submodule_search_locations if spec else None
    if not locations:
        raise ConfigError("the package `jobs` with the recipes is not installed; install the project again")
    return Path(next(iter(locations)), "recipes")


def recipe_paths() -> dict[str, Path]:
    """The file of each recipe by its name, in the order of `GROUPS`; no file is read."""
    folder = _folder()
    return {path.stem: path for group in GROUPS for path in sorted((folder / group).glob("*.yaml"))}


def list_recipes() -> list[Recipe]:
    """All recipes, by group and name."""
    return [_read(name, path) for name, path in recipe_paths().items()]


def find_recipe(name: str) -> Recipe:
    """A recipe by name; no other file is read.

    Raises:
        ConfigError: There is none of that name; suggests the nearest.
    """
    paths = recipe_paths()
    if name in FORMER_NAMES:
        renamed(name, FORMER_NAMES[name])
        name = FORMER_NAMES[name]
    if name in paths:
        return _read(name, paths[name])
    near = difflib.get_close_matches(name, paths, n=MOST_NEAR) or [path for path in paths if name and name in path]
    hint = f"did you mean {' or '.join(near[:MOST_NEAR])}? " if near else ""
    raise ConfigError([Fault(name, "is neither a recipe nor a file", f"{hint}`attn recipes` lists all {len(paths)}")])


def _read(name: str, path: Path) -> Recipe:
    return Recipe(name, path, path.read_text(encoding="utf-8"))


def load_config(kind: type[C], target: str, overrides: list[str], *, hints: Mapping[str, str] | None = None) -> C:
    """The config that a recipe's name or a YAML file gives, changed by overrides.

    Args:
        hints: By the kind that the recipe is of instead: what to do; by default the command of that kind.

    Raises:
        ConfigError: With all faults; or the recipe is of another kind.
    """
    return load_run(target, kind.model_fields["kind"].default, overrides, hints=hints)


def load_run(target: str, kind: str, overrides: list[str], *, hints: Mapping[str, str] | None = None) -> Any:
    """As `load_config`, of a kind by its name; of a sweep its config and its base's text."""
    from attn.runs.config_reader import kind_in, require_kind, resolve_run

    layers = _layers(target, overrides)
    way_out = (hints or {}).get(kind_in(layers.whole), f"use `attn {{kind}} {shlex.quote(target)}`")
    require_kind(layers.whole, [kind], way_out)
    return resolve_run(layers)


def load_any_run(target: str, overrides: list[str]) -> Any:
    """As `load_run`, of the kind that the recipe or file says it is."""
    from attn.runs.config_reader import resolve_run

    return resolve_run(_layers(target, overrides))


def load_any_config(target: str, overrides: list[str]) -> RunConfig | ComposedConfig | SweepConfig:
    """As `load_config`, of the kind that the recipe or file says it is."""
    config = load_any_run(target, overrides)
    return config[0] if isinstance(config, tuple) else config


def _layers(target: str, overrides: list[str]) -> Layers:
    """What a user names. These modules look recipes up here, and so are imported when they are used."""
    from attn.runs.layers import read_layers
    from attn.runs.overlaid import overlaid_notice
    from attn.runs.texts import LOCAL_TEXTS

    text, name = config_text(target)
    layers = read_layers(text, name, overrides, LOCAL_TEXTS)
    if (notice := overlaid_notice(layers.documents, name, overrides)) is not None:
        print_once(notice)
    return layers


def config_text(target: str) -> tuple[str, str]:
    """The text that a user means, and what to call it in messages.

    Raises:
        ConfigError: There is neither a recipe of that name nor such a file.
    """
    if is_path(target) or Path(target).is_file():
        return read_text(target), target
    near = f"{target}.yaml" if Path(f"{target}.yaml").is_file() else None
    if near is not None and target not in {*recipe_paths(), *FORMER_NAMES}:
        raise ConfigError([Fault(target, "is neither a recipe nor a file", f"did you mean {near}?")])
    return recipe_text(target)


def recipe_text(name: str) -> tuple[str, str]:
    """As `config_text`, of recipes only: for texts whose author may not read this machine's files."""
    recipe = find_recipe(name)
    return recipe.text, f"{RECIPE_PREFIX}{recipe.name}"


def is_path(target: str) -> bool:
    """Whether a name can only be a file's."""
    return target.endswith((".yaml", ".yml")) or "/" in target
