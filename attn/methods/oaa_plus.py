"""OAA+, "Integral Object Mining via Online Attention Accumulation" (Jiang et al., ICCV 2019), section 3.3.

The integral attention model: OAA's network without global average pooling and classification loss, trained per position
on the cumulative maps that an OAA run has written to its map store.

Its logits are still the mean of each class map, but they are not trained for classification: use the maps of known
labels only.
"""

from __future__ import annotations

__all__ = ["OaaPlus", "OaaPlusConfig"]

from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import torch
from pydantic import Field

from attn.config.base import Location
from attn.data.sample import Batch
from attn.data.soft_labels import StoredMaps
from attn.errors import ConfigError
from attn.losses import integral_cross_entropy, integral_hybrid
from attn.maps import MapKind, attention
from attn.methods.base import MethodConfig, Model, Progress, StepMaps, StepOutput, Supervision

LOSSES = {"hybrid": integral_hybrid, "mce": integral_cross_entropy}


class OaaPlusConfig(MethodConfig):
    """Train on stored maps.

    Attributes:
        maps: The map store of an OAA run on the same data.
        version: A committed version; by default the newest when the run begins, which the run's record then names.
        integral_loss: `hybrid` (OAA eq. 7-9), or `mce`: multi-label cross-entropy (OAA eq. 6), the paper's ablation.
        absent_classes: `negative`: absent classes are unattended everywhere, and means are over the positions of all
            classes together (published code). `constrain`: unattended too, but each class has means of its own, which
            are added: the sum over all C of OAA eq. 9. `ignore`: that sum over the present
            classes, which have stored maps.
        map_kind: Kind of map in evaluation. `cam`: the positive part of the class map (published code). `integral`: its
            sigmoid q, which also ranks positions with q below one half.
    """

    paper: ClassVar[str] = "Jiang et al., Integral Object Mining via Online Attention Accumulation (ICCV 2019)"
    name: Literal["oaa_plus"] = "oaa_plus"
    maps: Location
    version: int | None = Field(default=None, ge=1)
    integral_loss: Literal["hybrid", "mce"] = "hybrid"
    absent_classes: Literal["negative", "constrain", "ignore"] = "negative"
    map_kind: MapKind = "cam"

    @property
    def soft_labels(self) -> StoredMaps:
        return StoredMaps(self.maps, self.version)

    @property
    def needs_class_maps(self) -> bool:
        return True

    def resolved_versions(self) -> Self:
        if self.version is not None:
            return self
        from attn import store

        return self.model_copy(update={"version": store.open(self.maps).newest().version or None})

    def build(self) -> OaaPlus:
        return OaaPlus(self)

    def terms(self, epoch: int) -> tuple[str, ...]:
        return ("integral",)


@dataclass(frozen=True)
class OaaPlus:
    """See `OaaPlusConfig`."""

    config: OaaPlusConfig
    layers: tuple[str, ...] = ()
    layer: str = "last"
    supervision: Supervision | None = None

    @property
    def map_kind(self) -> MapKind:
        return self.config.map_kind

    def step(self, model: Model, batch: Batch, progress: Progress) -> StepOutput:
        """See `Method.step`; losses: loss, integral."""
        if batch.soft_labels is None:
            raise ValueError("oaa_plus needs batches with soft labels")
        output = model(batch.images)
        if output.class_maps is None:
            raise ConfigError("oaa_plus needs a class-aware convolution, which this network lacks: set model.head=conv")
        loss_of, config = LOSSES[self.config.integral_loss], self.config
        # Half precision is too coarse for the mean of a whole map.
        class_maps = output.class_maps.to(torch.promote_types(output.class_maps.dtype, torch.float32))
        loss = loss_of(class_maps, batch.soft_labels, batch.labels, absent=config.absent_classes)
        losses = {"loss": loss, "integral": loss.detach()}
        if not progress.maps:
            return StepOutput(losses)
        return StepOutput(losses, StepMaps.of(output, attention(output, batch.pairs, kind=self.map_kind)))
