"""The classifier of OAA, "Integral Object Mining via Online Attention Accumulation" (Jiang et al., ICCV 2019).

The last layer is a class-aware convolution (`model.head: conv`), whose output contains a map of each class. In the
paper three 3×3 convolutions of 512 channels precede it (`model.head_convolutions: 3`). During training the attention
moves over the parts of an object. The run's section `store` accumulates the maps of all epochs
(`attn.training.accumulation`); it works with every method.
"""

from __future__ import annotations

__all__ = ["Oaa", "OaaConfig"]

from dataclasses import dataclass
from typing import ClassVar, Literal

from attn.data.sample import Batch
from attn.losses import multilabel_soft_margin
from attn.maps import MapKind, attention
from attn.methods.base import MethodConfig, Model, Progress, StepMaps, StepOutput, Supervision


class OaaConfig(MethodConfig):
    """Train with the binary cross-entropy of p^c = sigmoid(GAP(F^c)) (OAA eq. 1); maps are those of eq. 2."""

    paper: ClassVar[str] = "Jiang et al., Integral Object Mining via Online Attention Accumulation (ICCV 2019)"
    name: Literal["oaa"] = "oaa"

    @property
    def needs_class_maps(self) -> bool:
        return True

    @property
    def weighs_classes(self) -> bool:
        return True

    def build(self) -> Oaa:
        return Oaa()

    def terms(self, epoch: int) -> tuple[str, ...]:
        return ("classification",)


@dataclass(frozen=True)
class Oaa:
    """See `OaaConfig`."""

    layers: tuple[str, ...] = ()
    layer: str = "last"
    map_kind: MapKind = "cam"
    supervision: Supervision | None = None

    def step(self, model: Model, batch: Batch, progress: Progress) -> StepOutput:
        """See `Method.step`; losses: loss, classification."""
        output = model(batch.images)
        loss = multilabel_soft_margin(output.logits, batch.labels, weights=batch.class_weights)
        losses = {"loss": loss, "classification": loss.detach()}
        if not progress.maps:
            return StepOutput(losses)
        return StepOutput(losses, StepMaps.of(output, attention(output, batch.pairs, kind="cam")))
