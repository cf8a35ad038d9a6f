"""Reading the config of a run of any kind."""

from __future__ import annotations

__all__ = ["RecipeResolver", "kind_in", "read_config", "resolve_run", "require_kind"]

import pkgutil
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from attn.config.document import Document, read_document
from attn.config.resolve import resolve_document
from attn.errors import ConfigError, Fault
from attn.runs.table import KINDS, file_kinds

if TYPE_CHECKING:
    from attn.training.run_config import RunConfig

RecipeResolver = Callable[[str], tuple[str, str]]
"""Gives the text that a name in a file means, and what to call it in messages."""


def kind_in(document: Document) -> str:
    """Return the kind of a document; `train` if it has no `kind`.

    Raises:
        ConfigError: There is no such kind.
    """
    kind = document.values.get("kind", "train")
    if not isinstance(kind, str) or kind not in file_kinds():
        location = document.location(("kind",))
        raise ConfigError([Fault(location, f"kind = {kind!r} is not available", f"one of {', '.join(file_kinds())}")])
    return kind


def require_kind(document: Document, wanted: Collection[str], way_out: str) -> None:
    """Refuse a document of another kind than what runs it takes.

    Args:
        wanted: The kinds that are taken.
        way_out: What to do instead; `{kind}` in it stands for the kind that the document is of.

    Raises:
        ConfigError: It is of another kind, or of none that there is.
    """
    kind = kind_in(document)
    if kind in wanted:
        return
    given = "" if "kind" in document.values else "has no field `kind`, and so "
    message = f"{given}is of kind {kind}, not {' or '.join(wanted)}"
    raise ConfigError([Fault(document.location(("kind",)), message, way_out.replace("{kind}", kind))])


def read_config(text: str, name: str, overrides: list[str] | None = None) -> RunConfig:
    """The config of a run that trains one network.

    Raises:
        ConfigError: With all faults; or the text is of another kind.
    """
    document = read_document(text, name)
    trainings = [kind for kind, entry in KINDS.items() if entry.training is not None]
    require_kind(document, trainings, "expected the config of a single training")
    return resolve_document(pkgutil.resolve_name(str(KINDS[kind_in(document)].config)), document, overrides or [])


def resolve_run(document: Document, overrides: list[str], *, find: RecipeResolver | None = None) -> Any:
    """The config of a run of the kind that a document says it is; of a sweep its config and its base's text.

    Changes the document.

    Args:
        find: Finds what the document names; recipes and files of this machine without it.

    Raises:
        ConfigError: With all faults.
    """
    kind = KINDS[kind_in(document)]
    assert kind.config is not None, "a kind that files may be of"
    if kind.resolve is None:
        return resolve_document(pkgutil.resolve_name(kind.config), document, overrides)
    named = {} if find is None else {"find": find}
    return pkgutil.resolve_name(kind.resolve)(document, overrides, **named)
