"""The kinds of runs: which one a config says that it is, and which command runs it."""

from __future__ import annotations

__all__ = ["KINDS", "kind_in", "read_config", "require_kind"]

from collections.abc import Collection
from typing import TYPE_CHECKING

from attn.config.document import Document, read_document
from attn.config.resolve import resolve
from attn.errors import ConfigError, Fault

if TYPE_CHECKING:
    from attn.training.run_config import RunConfig

KINDS = ("train", "segment", "pipeline", "sweep")
"""What `kind` may be in a recipe or a file. The command of a kind has its name."""

TRAINING = ("train", "segment")
"""The kinds that train one network; the others are made of runs of these."""


def kind_in(document: Document) -> str:
    """What a document says that it is; `train` where it has no `kind`.

    Raises:
        ConfigError: There is no such kind.
    """
    kind = document.values.get("kind", "train")
    if kind not in KINDS:
        place = document.place(("kind",))
        raise ConfigError([Fault(place, f"kind = {kind!r} is not available", f"one of {', '.join(KINDS)}")])
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
    raise ConfigError([Fault(document.place(("kind",)), message, way_out.replace("{kind}", kind))])


def read_config(text: str, name: str, overrides: list[str] | None = None) -> RunConfig:
    """The config of a run that trains one network.

    Raises:
        ConfigError: With all faults; or the text is of another kind.
    """
    from attn.segmentation.config import SegmentConfig
    from attn.training.train_config import TrainConfig

    document = read_document(text, name)
    require_kind(document, TRAINING, "expected the config of a single training")
    kind = SegmentConfig if kind_in(document) == "segment" else TrainConfig
    return resolve(kind, text, name, overrides or [])
