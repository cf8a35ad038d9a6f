"""GAIN, "Tell Me Where to Look: Guided Attention Inference Network" (Li et al., CVPR 2018), and GAIN_ext.

Shapes: B images, N (image, class) pairs, C classes, h×w map, H×W input.

One step: classify; take the attention map of every present class; erase from the image what the map covers; classify
what is left, and push the erased class's score down (attention mining), so that the map has to cover all that tells of
the class. GAIN_ext also pulls the maps of a few images towards their masks or boxes.
"""

from __future__ import annotations

__all__ = ["Gain", "GainConfig"]

from dataclasses import dataclass
from typing import Annotated, Literal, Self

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, model_validator
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from attn.data.sample import Batch
from attn.losses import (
    attention_mining,
    class_probabilities,
    classification_loss,
    erase,
    external_supervision,
    soft_mask,
)
from attn.maps import MapKind, attention, normalize_max, pairs_of, upsample
from attn.methods.base import MethodConfig, Model, Progress, StepMaps, StepOutput, Supervision
from attn.methods.joint import joint_share
from attn.models.output import Output


class GainConfig(MethodConfig):
    """L = L_cl + α L_am + ω_e L_e (GAIN eq. 6 and 8).

    Attributes:
        alpha: Weight of attention mining; 0 leaves it, and its second pass, out.
        mask_scale: ω of eq. 4: how sharply the mask cuts.
        mask_threshold: σ of eq. 4, on maps whose maximum is 1.
        mining_score: What is pushed down: the class's probability (by softmax where classes are exclusive), or its
            logit, which is unbounded below.
        mining_parameters: `all`: attention mining trains both passes. `fixed`: the second pass's parameters are
            constants, so that attention mining only changes what the map depends on.
        mining_normalizer: `trained`: attention mining also works through the maximum that a map is divided by, and can
            grow a mask by lowering the peak, which classification needs. `constant`: only by raising the rest.
        warmup_epochs: Epochs of classification alone at the start.
        warmup_extra: Whether extra supervision works during those epochs.
        layer: Feature layer of the map.
        map_kind: Kind of the map.
        weight_gradient: Train the map through its weights w_k too, not only through the features.
        extra_supervision: Whether some images carry masks or boxes (GAIN_ext).
        extra_images: How many do: a count, or a fraction of the training split below 1.
        extra_fraction: Share of each batch that is drawn from those images; with batches of one, of the batches.
        extra_weight: ω of eq. 8.
        extra_map: What is compared with the mask: the map divided by its maximum, or as it is.
    """

    name: Literal["gain"] = "gain"
    alpha: NonNegativeFloat = 1.0
    mask_scale: PositiveFloat = 10.0
    mask_threshold: Annotated[float, Field(ge=0, le=1)] = 0.5
    mining_score: Literal["sigmoid", "logit"] = "sigmoid"
    mining_parameters: Literal["all", "fixed"] = "all"
    mining_normalizer: Literal["trained", "constant"] = "trained"
    warmup_epochs: NonNegativeInt = 1
    warmup_extra: bool = False
    layer: str = "last"
    map_kind: MapKind = "grad_cam"
    weight_gradient: bool = False
    extra_supervision: Literal["none", "masks", "boxes"] = "none"
    extra_images: PositiveFloat = 200
    extra_fraction: Annotated[float, Field(gt=0, le=1)] = 0.25
    extra_weight: NonNegativeFloat = 10.0
    extra_map: Literal["normalized", "raw"] = "normalized"

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.map_kind == "cam" and self.layer != "last":
            raise ValueError(f"map_kind=cam has no map of layer={self.layer}: set layer=last or map_kind=grad_cam")
        if self.extra_images >= 1 and self.extra_images != int(self.extra_images):
            given = f"extra_images={self.extra_images}"
            raise ValueError(f"{given} is neither a count nor a fraction: set a whole number, or less than 1")
        if self.extra_supervision != "none" and self.extra_weight == 0:
            kind = self.extra_supervision
            raise ValueError(f"extra_weight=0 makes extra_supervision={kind} void: set it above 0, or none")
        return self

    def least_images(self, images: int, source_images: int) -> int:
        # The second pass has one image for each (image, class) pair.
        return 1 if self.alpha > 0 else images

    def build(self) -> Gain:
        return Gain(self)

    def terms(self, epoch: int) -> tuple[str, ...]:
        mined, helped = self.at_work(epoch)
        return ("classification", *(("mining",) if mined else ()), *(("extra",) if helped else ()))

    def idle_fields(self, epoch: int) -> frozenset[str]:
        if epoch >= self.warmup_epochs:
            return frozenset()
        mining = {"alpha", "mask_scale", "mask_threshold", "mining_score", "mining_parameters", "mining_normalizer"}
        _, helped = self.at_work(epoch)
        idle = mining | {"warmup_epochs"} | (set() if helped else {"extra_weight", "extra_map", "weight_gradient"})
        return frozenset(idle)

    def at_work(self, epoch: int) -> tuple[bool, bool]:
        """Whether attention mining and extra supervision train the network in an epoch."""
        warm = epoch < self.warmup_epochs
        return self.alpha > 0 and not warm, self.extra_supervision != "none" and (self.warmup_extra or not warm)


@dataclass(frozen=True)
class Gain:
    """See `GainConfig`."""

    config: GainConfig

    @property
    def layers(self) -> tuple[str, ...]:
        return () if self.config.layer == "last" else (self.config.layer,)

    @property
    def layer(self) -> str:
        return self.config.layer

    @property
    def map_kind(self) -> MapKind:
        return self.config.map_kind

    @property
    def supervision(self) -> Supervision | None:
        config = self.config
        if config.extra_supervision == "none":
            return None
        return Supervision(config.extra_supervision, config.extra_images, config.extra_fraction)

    def step(self, model: Model, batch: Batch, progress: Progress) -> StepOutput:
        """See `Method.step`; losses: loss, classification, mining (after warm-up), extra (with extra supervision)."""
        config = self.config
        output = model(batch.images)
        classification = classification_loss(output.logits, batch.labels, exclusive=batch.exclusive)
        loss, terms = classification, {"classification": classification}
        mined, helped = config.at_work(progress.epoch)
        present = mined or progress.maps
        if not (present or helped):
            return StepOutput({"loss": loss, **_detached(terms)})

        mining_pairs = pairs_of(batch.labels) if present else batch.region_pairs[:0]
        extra_pairs = batch.region_pairs if helped else batch.region_pairs[:0]
        mining_maps, extra_maps = self._maps(output, mining_pairs, extra_pairs)
        if mined:
            terms["mining"] = self._mining(model, batch, mining_maps, mining_pairs)
            loss = loss + config.alpha * terms["mining"]
        if helped:
            terms["extra"] = self._extra(extra_maps, batch.regions, extra_pairs)
            loss = loss + config.extra_weight * terms["extra"]
        maps = StepMaps.of(output, mining_maps) if progress.maps else None
        return StepOutput({"loss": loss, **_detached(terms)}, maps)

    def _maps(self, output: Output, mining_pairs: Tensor, extra_pairs: Tensor) -> tuple[Tensor, Tensor]:
        """The maps of both lists of pairs; a pair that stands in both is computed once."""
        config = self.config
        pairs, rows = torch.unique(torch.cat([mining_pairs, extra_pairs]), dim=0, return_inverse=True)
        maps = attention(
            output, pairs, kind=config.map_kind, layer=config.layer, weight_gradient=config.weight_gradient
        )[rows]
        return maps[: len(mining_pairs)], maps[len(mining_pairs) :]

    def _mining(self, model: Model, batch: Batch, maps: Tensor, pairs: Tensor) -> Tensor:
        """L_am: each class's score on the image from which its own attention is erased (eq. 3-5).

        An image without a class counts with 0, so that the mean over workers is that of the joint batch.
        """
        config, images = self.config, batch.images
        if len(pairs) == 0:
            return maps.sum()
        height, width = images.shape[-2:]
        constant = config.mining_normalizer == "constant"
        normalized = upsample(normalize_max(maps, constant_maximum=constant), (height, width))
        masks = soft_mask(normalized, scale=config.mask_scale, threshold=config.mask_threshold)
        erased = erase(images, masks, pairs)
        scores = _second_pass(model, erased, fixed=config.mining_parameters == "fixed")
        if config.mining_score == "sigmoid":
            scores = class_probabilities(scores, exclusive=batch.exclusive)
        return attention_mining(scores.gather(1, pairs[:, 1:])[:, 0], pairs) * (_count_images(pairs) / len(images))

    def _extra(self, maps: Tensor, regions: Tensor, pairs: Tensor) -> Tensor:
        """L_e: squared difference to masks or boxes, reduced to the map's size by area averaging (eq. 7)."""
        share = joint_share(_count_images(pairs), maps.device)
        if len(pairs) == 0:
            return maps.sum()
        maps = normalize_max(maps) if self.config.extra_map == "normalized" else maps
        targets = functional.adaptive_avg_pool2d(regions, (maps.shape[1], maps.shape[2]))
        return external_supervision(maps, targets, pairs) * share


def _second_pass(model: Model, images: Tensor, *, fixed: bool) -> Tensor:
    """Logits of masked images; batch-normalisation statistics stay as they are.

    The wrapper of distributed training is passed by: its hooks on the parameters see both passes' gradients in any
    case, and a second forward through it could broadcast buffers that the first pass's graph still needs.
    """
    network = getattr(model, "module", model)
    if not fixed:
        return network(images, update_statistics=False).logits
    if not isinstance(network, nn.Module):
        raise TypeError(f"mining_parameters=fixed needs a torch module, not {type(network).__name__}")
    constants = {name: value.detach() for name, value in (*network.named_parameters(), *network.named_buffers())}
    return functional_call(network, constants, (images,), {"update_statistics": False}).logits


def _count_images(pairs: Tensor) -> int:
    return len(pairs[:, 0].unique())


def _detached(terms: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: term.detach() for name, term in terms.items()}
