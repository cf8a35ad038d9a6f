"""ICASC, "Reducing Visual Confusion with Discriminative Attention" (Wang et al., ICCV 2019).

Shapes: B images, N images with at least one present and one absent class, C classes, h×w map of each layer.

One step: classify the images; compute maps of each image's classes and of its most confusing class, at the last layer
and at an inner one (ICASC eq. 3-5); minimise the overlap of the two within the target (soft IoU, ICASC eq. 6-7), and
the inner layer's attention outside the target (consistency, ICASC eq. 8). Maps are also trained through their gradient
weights, so a step differentiates twice through the part of the network above the inner layer.
"""

from __future__ import annotations

__all__ = ["Icasc", "IcascConfig"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, model_validator
from torch import Tensor

from attn.data.sample import Batch, Example
from attn.losses import attention_consistency, classification_loss, soft_iou, target_mask
from attn.losses.confusion_maps import ConfusionMaps, confusion_maps
from attn.maps import GradientMapKind, attention, normalize_max, upsample
from attn.methods.base import MethodConfig, Model, Progress, StepMaps, StepOutput, Supervision
from attn.models.output import Output

if TYPE_CHECKING:
    from attn.models.network import Network
    from attn.pictures.layout import Picture


class IcascConfig(MethodConfig):
    """L = L_cls + sIoU_inner + sIoU_last + L_ac (ICASC eq. 9), with a weight for each term.

    Attributes:
        map_kind: A_ch (`channel`, ICASC eq. 3-4) or A_px (`pixel`, ICASC eq. 5); the paper's Table 1 compares with
            `grad_cam`.
        iou_inner, iou_last: Weights of the soft IoU of target map and confusing map at each layer (ICASC eq. 6).
        consistency: Weight of L_ac, the share of the inner layer's attention outside the target (ICASC eq. 8).
        alpha: a of ICASC eq. 8, a constant without gradient; with 1 the term is in [0, 1].
        mask_scale: ω of ICASC eq. 7, the steepness of the mask.
        mask_fraction: σ of ICASC eq. 7, as a fraction of the target map's maximum.
        mask_gradient: Let gradients flow through the mask; otherwise the mask is a constant.
        normalize: `mask`: divide the map that the mask is computed from by its maximum, so that ω means the same for
            every network, layer and kind of map. `all`: also the maps of the soft IoU, which then compares locations
            and not magnitudes. `none`: the equations as printed.
        weight_gradient: Train the maps through their gradient weights too (second order), not only through the
            features.
        warmup_epochs: Number of first epochs with classification only.
    """

    paper: ClassVar[str] = "Wang et al., Reducing Visual Confusion with Discriminative Attention (ICCV 2019)"
    name: Literal["icasc"] = "icasc"
    map_kind: GradientMapKind = "channel"
    iou_inner: NonNegativeFloat = 1.0
    iou_last: NonNegativeFloat = 1.0
    consistency: NonNegativeFloat = 1.0
    alpha: Annotated[float, Field(ge=0)] = 1.0
    mask_scale: PositiveFloat = 100.0
    mask_fraction: Annotated[float, Field(ge=0, le=1)] = 0.55
    mask_gradient: bool = False
    normalize: Literal["mask", "all", "none"] = "mask"
    weight_gradient: bool = True
    warmup_epochs: NonNegativeInt = 0

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not (self.iou_inner or self.iou_last or self.consistency):
            raise ValueError(
                "iou_inner, iou_last and consistency are all 0, so only classification is trained: "
                "set one of them above 0, or method.name=grad_cam"
            )
        return self

    def unused(self) -> Mapping[str, tuple[str, ...]]:
        return {} if self.consistency else {"consistency": ("alpha",)}

    @property
    def weighs_classes(self) -> bool:
        return True

    def build(self) -> Icasc:
        return Icasc(self)

    def terms(self, epoch: int) -> tuple[str, ...]:
        if epoch < self.warmup_epochs:
            return ("classification",)
        weights = {"iou_last": self.iou_last, "iou_inner": self.iou_inner, "consistency": self.consistency}
        return ("classification", *(name for name, weight in weights.items() if weight))

    def idle_fields(self, epoch: int) -> frozenset[str]:
        if epoch >= self.warmup_epochs:
            return frozenset()
        return frozenset(type(self).model_fields) - {"name", "map_kind"}


@dataclass(frozen=True)
class Icasc:
    """See `IcascConfig`."""

    config: IcascConfig
    layer: str = "last"
    supervision: Supervision | None = None

    @property
    def layers(self) -> tuple[str, ...]:
        return ("inner",) if self.config.iou_inner or self.config.consistency else ()

    @property
    def map_kind(self) -> GradientMapKind:
        return self.config.map_kind

    def step(self, model: Model, batch: Batch, progress: Progress) -> StepOutput:
        """See `Method.step`; losses: loss, classification, and after warm-up iou_last, iou_inner, consistency.

        The last three are 0 for an image without any class or with all classes.
        """
        config = self.config
        output = model(batch.images)
        loss = classification_loss(output.logits, batch.labels, exclusive=batch.exclusive, weights=batch.class_weights)
        terms = {"classification": loss}
        if progress.epoch >= config.warmup_epochs:
            terms |= self.terms(output, batch.host_labels)
            weights = {"iou_last": config.iou_last, "iou_inner": config.iou_inner, "consistency": config.consistency}
            loss = loss + sum(weight * terms[name] for name, weight in weights.items() if name in terms)
        losses = {"loss": loss} | {name: term.detach() for name, term in terms.items()}
        if not progress.maps:
            return StepOutput(losses)
        maps = attention(output, batch.pairs, kind=config.map_kind, layer=self.layer)
        return StepOutput(losses, StepMaps.of(output, maps))

    def terms(self, output: Output, labels_BC: Tensor) -> dict[str, Tensor]:
        """The terms of non-zero weight (ICASC eq. 6-8), unweighted, with their graph; means over the B images.

        Labels on the host spare it waiting for the network's device.
        """
        config = self.config
        maps = confusion_maps(
            output,
            labels_BC,
            kind=config.map_kind,
            layers=("last", *self.layers),
            weight_gradient=config.weight_gradient,
        )
        last_Nhw = maps.target["last"] if config.mask_gradient else maps.target["last"].detach()
        last_Nhw = last_Nhw if config.normalize == "none" else normalize_max(last_Nhw)
        mask_Nhw = target_mask(last_Nhw, scale=config.mask_scale, fraction=config.mask_fraction)
        share = len(maps.rows) / max(1, len(labels_BC))
        results: dict[str, Tensor] = {}
        if config.iou_last:
            results["iou_last"] = share * self._overlap(maps, "last", mask_Nhw)
        if self.layers:
            # Interpolation may round to slightly above 1.
            mask_Nhw = upsample(mask_Nhw, _size(maps.target["inner"])).clamp(0, 1)
        if config.iou_inner:
            results["iou_inner"] = share * self._overlap(maps, "inner", mask_Nhw)
        if config.consistency:
            results["consistency"] = share * attention_consistency(maps.target["inner"], mask_Nhw, alpha=config.alpha)
        return results

    def picture(self, network: Network, batch: Batch, example: Example, classes: Sequence[str]) -> Picture:
        """See `attn.pictures.preview.DrawsPicture`: target map and confusing map at both layers, and their overlap."""
        from attn.pictures.confusion import confusion_panel

        return confusion_panel(network, batch, example, classes, kind=self.config.map_kind)

    def _overlap(self, maps: ConfusionMaps, layer: str, mask_Nhw: Tensor) -> Tensor:
        target_Nhw, other_Nhw = maps.target[layer], maps.other[layer]
        if self.config.normalize == "all":
            target_Nhw, other_Nhw = normalize_max(target_Nhw), normalize_max(other_Nhw)
        return soft_iou(target_Nhw, other_Nhw, mask_Nhw)


def _size(maps_Nhw: Tensor) -> tuple[int, int]:
    return maps_Nhw.shape[1], maps_Nhw.shape[2]
