"""How a model is scored unless the user says otherwise, and the names of scores that were taken another way."""

from __future__ import annotations

__all__ = ["PlainScores", "is_other_data"]

import re
from dataclasses import dataclass
from pathlib import Path

from attn.config.document import read_document
from attn.data.source import SourceConfig
from attn.evaluation.score import Protocol
from attn.maps.dense_crf import CrfConfig

PLACE = ("source", "root", "manifest")
"""Fields that say which data it is, whatever its split."""


@dataclass(frozen=True)
class PlainScores:
    """What the protocol of a model's plain scores says of data, inputs and maps.

    Attributes:
        other_data: The scored data is not the data that the model was trained on, whatever the split.
    """

    other_data: bool
    map_kind: str | None = None
    layer: str | None = None
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    crf: CrfConfig | None = None

    def variant(self, protocol: Protocol) -> str:
        """Words for what a score differs in from the plain one, for its name; empty of a plain score."""
        words = [f"data-{protocol.fingerprint[:8]}"] if self.other_data else []
        words += [f"crops-{protocol.crops}"] if protocol.crops not in (None, "one") else []
        if protocol.scored != "classifier":
            words += _refinements(protocol)
            if protocol.scales != self.scales:
                words.append("scales-" + "-".join(f"{scale:g}" for scale in protocol.scales))
            if bool(protocol.flip) != self.flip:
                words.append("flip" if protocol.flip else "no-flip")
            words += [protocol.map_kind] if protocol.map_kind not in (None, self.map_kind) else []
            words += [f"layer-{protocol.layer}"] if protocol.layer not in (None, self.layer) else []
            words += ["other-crf"] if protocol.crf not in (None, self.crf) else []
        return re.sub(r"[^\w.-]", "_", "_".join(words))


def is_other_data(data: SourceConfig, config_file: Path) -> bool:
    """Whether data is not what a model was trained on, by the config in its folder; false where that says nothing."""
    if not config_file.is_file():
        return False
    trained = read_document(config_file.read_text(encoding="utf-8"), str(config_file)).values.get("data")
    return isinstance(trained, dict) and any(trained.get(name) != getattr(data, name, None) for name in PLACE)


def _refinements(protocol: Protocol) -> list[str]:
    """Names of the refinements of the maps, the first one first."""
    names, described = list[str](), protocol.refinement
    while described:
        names.insert(0, str(described["name"]))
        described = described.get("after")
    return names
