"""What `attn submit` sends: a name, or the text of a YAML file, and of every file that it or an override names."""

from __future__ import annotations

__all__ = ["naming", "request_of"]

import os
import re
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from attn.config.document import override_of, parse_override
from attn.errors import ConfigError, Fault
from attn.files.nearest import read_text
from attn.runs.config_reader import resolve_run
from attn.runs.layers import DATA, RECIPE, Layers, follow, read_layers, with_data
from attn.runs.recipes import FORMER_NAMES, RECIPE_PREFIX, is_path, recipe_paths, recipe_text
from attn.runs.table import file_kinds
from attn.runs.texts import LocalTexts, Text

SENT = re.compile(r"(?m)(?<=^  )config(?=(?::\d+)?: )")
"""A sent config's name where a fault begins, one a line: `  config:4: ...`."""


@dataclass(frozen=True)
class _SentTexts(LocalTexts):
    """Files of this machine, which are noted as they are read.

    Attributes:
        files: Texts by the names that the service finds them by.
        missing: Files of data that cannot be sent.
    """

    files: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    def recipe(self, reference: str, by: str) -> Text:
        return self._noted(super().recipe(reference, by))

    def data(self, reference: str, by: str) -> Text:
        try:
            return self._noted(super().data(reference, by))
        except ConfigError:
            self.missing.append(reference)
            raise

    def _noted(self, text: Text) -> Text:
        if not text.name.startswith(RECIPE_PREFIX):
            self.files[text.name] = text.text
        return text


def request_of(target: str, overrides: list[str], kind: str = "train") -> dict[str, Any]:
    """The fields `target` or `config`, `overrides` and `files` of a submission.

    Args:
        kind: Of the run: what it works on is a recipe or a file only if files may be of that kind.

    Raises:
        ConfigError: A file is missing, or does not fit.
    """
    if not target.endswith((".yaml", ".yml")):
        texts = _SentTexts()
        if kind in file_kinds() and target in {*recipe_paths(), *FORMER_NAMES}:
            _check_sent(read_layers(*recipe_text(target), overrides, texts), texts)
        else:
            given = with_data(overrides, texts)
            if texts.missing:
                raise ConfigError([one for one in map(parse_override, given) if isinstance(one, Fault)])
        return _fields({"target": target, "overrides": overrides}, texts)
    texts, text = _SentTexts(os.path.dirname(target)), read_text(target)
    overrides = [_from_folder(one, texts.folder) for one in overrides]
    _check_sent(read_layers(text, os.path.basename(target), overrides, texts), texts)
    return _fields({"config": text, "overrides": overrides}, texts)


@contextmanager
def naming(target: str) -> Generator[None]:
    """Let faults of a config that was sent name the user's file, where the service knows only its text.

    Raises:
        ConfigError: The body's, with the file's name.
    """
    try:
        yield
    except ConfigError as error:
        text = str(error)
        if not target.endswith((".yaml", ".yml")) or (named := SENT.sub(lambda _: target, text)) == text:
            raise
        raise ConfigError(named) from None


def _check_sent(layers: Layers, texts: _SentTexts) -> None:
    """Read every file that a run names; the service, which reports all other faults, would not name the missing ones.

    Raises:
        ConfigError: With all faults, if a file of data is missing; or there is no such recipe.
    """
    follow(layers)
    if texts.missing:
        resolve_run(layers)


def _fields(request: dict[str, Any], texts: _SentTexts) -> dict[str, Any]:
    return request | ({"files": texts.files} if texts.files else {})


def _from_folder(text: str, folder: str) -> str:
    """An override that names a file, with the file's name as seen from the folder of the config."""
    parsed = parse_override(text)
    if isinstance(parsed, Fault) or parsed[0][-1] not in (DATA, RECIPE):
        return text
    path, name = parsed
    if not isinstance(name, str) or os.path.isabs(name) or name.startswith("~"):
        return text
    if path[-1] == RECIPE and not is_path(name):
        return text
    return override_of(".".join(path), os.path.relpath(name, folder or "."))
