"""A notice for `recipe=X` on the command line where the file or recipe lies over nearly all of X."""

from __future__ import annotations

__all__ = ["overlaid_notice"]

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from attn.config.document import Document, layered, parse_override
from attn.errors import Fault
from attn.wording import counted

RECIPE = ("recipe",)
SHOWN = 5
NO_CHOICE = ("kind",)
"""Fields that both have anyway."""


def overlaid_notice(documents: Sequence[Document], name: str, overrides: Iterable[str]) -> str | None:
    """What `recipe=X` changes, if that is less than half of X; else None.

    Args:
        documents: The lowest first; the last one is what the user named, which starts from the others.
        name: Of the last one, in messages.
    """
    reference = None
    for text in overrides:
        parsed = parse_override(text)
        if not isinstance(parsed, Fault) and parsed[0] == RECIPE:
            reference = parsed[1]
    if reference is None or len(documents) < 2:
        return None
    below, own = _leaves(layered(*documents[:-1]).values), _leaves(documents[-1].values)
    whole = _leaves(layered(*documents).values)
    fields = [field for field in below if field not in NO_CHOICE]
    counts = [field for field in fields if field not in own and field in whole]
    if 2 * len(counts) >= len(fields):
        return None
    shown = ", ".join(counts[:SHOWN]) + (f" and {len(counts) - SHOWN} more" if len(counts) > SHOWN else "")
    effect = f"only {shown} of it {'counts' if len(counts) == 1 else 'count'}" if counts else "nothing of it counts"
    return (
        f"note: recipe={reference} lies below {name}, which sets {len(fields) - len(counts)} of its "
        f"{counted(len(fields), 'field')} itself: {effect}. To run {reference}, name it in the place of {name}"
    )


def _leaves(values: Mapping[str, Any]) -> list[str]:
    return list(_dotted(values, ""))


def _dotted(values: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _dotted(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"
