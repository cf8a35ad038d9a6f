"""Where the texts come from that a config names: recipes, and files of this machine or files that were sent."""

from __future__ import annotations

__all__ = ["LOCAL_TEXTS", "RECIPES_ONLY", "GivenTexts", "LocalTexts", "Text", "Texts"]

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

from attn.errors import ConfigError, Fault
from attn.files.nearest import read_text
from attn.files.roots import may_read
from attn.notices import renamed
from attn.runs.recipes import RECIPE_PREFIX, is_path, recipe_paths, recipe_text

DATA_HINT = "expected the name of a YAML file with the fields of the data section, such as source and root"


class Text(NamedTuple):
    """A text, and its name in messages."""

    text: str
    name: str


class Texts(Protocol):
    """Finds what a config names. `by` is the name of the text that names it; empty for the command line."""

    def recipe(self, reference: str, by: str) -> Text:
        """A recipe, or a run's file.

        Raises:
            ConfigError: There is none of that name.
        """
        ...

    def data(self, reference: str, by: str) -> Text:
        """A file with the fields of a data section; raises as `recipe`."""
        ...


@dataclass(frozen=True)
class LocalTexts:
    """Recipes by name, and files of this machine.

    Attributes:
        folder: What relative names of texts start from; by default the working directory.
    """

    folder: str = ""

    def recipe(self, reference: str, by: str) -> Text:
        if reference in recipe_paths() or not (is_path(reference) or Path(reference).is_file()):
            return Text(*recipe_text(reference))
        name = _beside(reference, by)
        if not self._path(name).exists() and (former := _beside(reference, "")) != name and Path(former).is_file():
            renamed(f"recipe: {reference}", f"recipe: {os.path.relpath(former, os.path.dirname(by))}")
            name = former
        return Text(self._read(name, "give a recipe's name or a YAML file"), name)

    def data(self, reference: str, by: str) -> Text:
        name = _beside(reference, by)
        return Text(self._read(name, DATA_HINT), name)

    def _path(self, name: str) -> Path:
        return Path(os.path.expanduser(os.path.join(self.folder, name) if not name.startswith("~") else name))

    def _read(self, name: str, hint: str) -> str:
        path = str(self._path(name))
        if not may_read(path):
            raise ConfigError([Fault(name, "is outside the folders that the service may read", hint)])
        try:
            return read_text(path, hint)
        except ConfigError as error:
            raise ConfigError([Fault(name, error.faults[0].message, error.faults[0].hint)]) from None


@dataclass(frozen=True)
class GivenTexts:
    """Recipes by name, and files that were sent with the config. No other file is read.

    Attributes:
        files: Texts by name.
    """

    files: Mapping[str, str] = field(default_factory=dict)

    def recipe(self, reference: str, by: str) -> Text:
        name = _beside(reference, by)
        if reference not in recipe_paths() and (name in self.files or is_path(name)):
            if name not in self.files:
                hint = "a recipe's name; the texts of files are sent in `files`"
                raise ConfigError([Fault(name, "is neither a recipe nor a file that was sent", hint)])
            return Text(self.files[name], name)
        return Text(*recipe_text(reference))

    def data(self, reference: str, by: str) -> Text:
        name = _beside(reference, by)
        if name not in self.files:
            hint = "send its text in `files`, or write its fields in place of its name"
            raise ConfigError([Fault(name, "is a file that was not sent", hint)])
        return Text(self.files[name], name)


LOCAL_TEXTS = LocalTexts()
RECIPES_ONLY = GivenTexts()


def _beside(reference: str, by: str) -> str:
    """The name of a file that a text names: a relative one starts from the folder of that text."""
    if os.path.isabs(reference) or reference.startswith("~"):
        return reference
    folder = "" if by.startswith(RECIPE_PREFIX) else os.path.dirname(by)
    return os.path.normpath(os.path.join(folder, reference))
