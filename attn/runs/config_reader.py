"""Reading the config of a run of any kind."""

from __future__ import annotations

__all__ = ["kind_in", "read_config", "read_run", "require_kind", "resolve_run"]

import pkgutil
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from attn.config.document import Document, read_document
from attn.config.resolve import resolve_document
from attn.errors import ConfigError, Fault
from attn.runs.layers import Layers, read_layers
from attn.runs.table import KINDS, file_kinds
from attn.runs.texts import RECIPES_ONLY, Texts

if TYPE_CHECKING:
    from attn.training.run_config import RunConfig


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
    """The config of a run that trains one network, from a text that starts from no other.

    Raises:
        ConfigError: With all faults; or the text is of another kind.
    """
    document = read_document(text, name)
    trainings = [kind for kind, entry in KINDS.items() if entry.training is not None]
    require_kind(document, trainings, "expected the config of a single training")
    return resolve_document(pkgutil.resolve_name(str(KINDS[kind_in(document)].config)), [document], overrides or [])


def read_run(text: str, name: str, overrides: list[str] | None = None, *, texts: Texts = RECIPES_ONLY) -> Any:
    """The config of a run of the kind that the text says it is; of a sweep its config and its base's text.

    Args:
        texts: Finds what the text names.

    Raises:
        ConfigError: With all faults.
    """
    return resolve_run(read_layers(text, name, overrides or [], texts))


def resolve_run(layers: Layers) -> Any:
    """As `read_run`, of texts that are read already."""
    kind = KINDS[kind_in(layers.whole)]
    assert kind.config is not None, "a kind that files may be of"
    if kind.resolve is not None:
        return pkgutil.resolve_name(kind.resolve)(layers)
    return resolve_document(pkgutil.resolve_name(kind.config), layers.documents, layers.overrides)
