"""Classification only: the baseline of all other methods, with attention maps computed after training.

Grad-CAM: Selvaraju et al., ICCV 2017; class activation maps: Zhou et al., CVPR 2016.
"""

from __future__ import annotations

__all__ = ["GradCam", "GradCamConfig"]

from dataclasses import dataclass
from typing import ClassVar, Literal

from attn.data.sample import Batch
from attn.losses import classification_loss
from attn.maps import MapKind, attention
from attn.methods.base import MethodConfig, Model, Progress, StepMaps, StepOutput, Supervision


class GradCamConfig(MethodConfig):
    """Train the classifier alone.

    Attributes:
        map_kind: Kind of map that the trained network is evaluated by.
    """

    paper: ClassVar[str] = "Selvaraju et al., Grad-CAM (ICCV 2017)"
    name: Literal["grad_cam"] = "grad_cam"
    map_kind: MapKind = "grad_cam"

    @property
    def weighs_classes(self) -> bool:
        return True

    def build(self) -> GradCam:
        return GradCam(self.map_kind)

    def terms(self, epoch: int) -> tuple[str, ...]:
        return ("classification",)


@dataclass(frozen=True)
class GradCam:
    """Cross-entropy for exclusive classes, otherwise multi-label soft margin."""

    map_kind: MapKind
    layers: tuple[str, ...] = ()
    layer: str = "last"
    supervision: Supervision | None = None

    def step(self, model: Model, batch: Batch, progress: Progress) -> StepOutput:
        """See `Method.step`; losses: loss, classification."""
        output = model(batch.images)
        loss = classification_loss(output.logits, batch.labels, exclusive=batch.exclusive, weights=batch.class_weights)
        losses = {"loss": loss, "classification": loss.detach()}
        if not progress.maps:
            return StepOutput(losses)
        maps = attention(output, batch.pairs, kind=self.map_kind, layer=self.layer)
        return StepOutput(losses, StepMaps.of(output, maps))
