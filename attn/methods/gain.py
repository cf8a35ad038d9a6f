"""GAIN, "Tell Me Where to Look: Guided Attention Inference Network" (Li et al., CVPR 2018), and GAIN_ext.

Shapes: B images, N (image, class) pairs, C classes, h×w map, H×W input.

One step: classify the images; compute the attention map of every present class; erase the attended region from the
image (GAIN eq. 3-4); classify the rest, and minimise the score of the erased class (attention mining, GAIN eq. 5). The
map then has to cover every region that shows the class. GAIN_ext also trains the maps of a few images to match their
masks or boxes (GAIN eq. 7). These are drawn for it apart: such a draw adds to this term alone, and the images are among
those that the other terms see once an epoch.
"""

from __future__ import annotations

__all__ = ["Gain", "GainConfig"]

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, Self

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, model_validator
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from attn.config.base import Location
from attn.data.sample import Batch
from attn.losses import (
    attention_mining,
    class_probabilities,
    classification_loss,
    erase,
    external_supervision,
    soft_mask,
)
from attn.maps import MapKind, attention, normalize_max, upsample
from attn.methods.base import MethodConfig, Model, Progress, StepMaps, StepOutput, Supervision
from attn.methods.joint import joint_share
from attn.models.output import Output


class GainConfig(MethodConfig):
    """L = L_cl + α L_am + ω_e L_e (GAIN eq. 6 and 8).

    Attributes:
        alpha: α, the weight of attention mining; 0 omits it and its second forward pass.
        mask_scale: ω of GAIN eq. 4, the steepness of the mask.
        mask_threshold: σ of GAIN eq. 4, for maps whose maximum is 1.
        mining_score: Score that is minimised: `sigmoid`: the class's probability (softmax for exclusive classes).
            `logit`: the logit, which has no lower bound.
        mining_parameters: `all`: attention mining trains the parameters of both passes. `fixed`: the parameters of the
            second pass are constants, so attention mining trains only through the map.
        mining_normalizer: `trained`: gradients also flow through the maximum that a map is divided by, so a mask can
            grow by lowering the peak, which classification needs. `constant`: the maximum is a constant, so a mask can
            only grow by raising the other values.
        warmup_epochs: Number of first epochs with classification only.
        warmup_extra: Use extra supervision during these epochs, too.
        layer: Feature layer of the map.
        map_kind: Kind of the map.
        weight_gradient: Train the map through its weights w_k too, not only through the features.
        extra_supervision: Kind of extra supervision of some images (GAIN_ext).
        extra_images: Number of these images: a count, or a fraction of the training split below 1.
        extra_choice: How they are chosen from the images that have masks or boxes: `balanced`: as many of each class,
            where it has them. `random`: drawn uniformly, as in the paper.
        extra_list: Text file with one image id a line: choose from these images only, those that have true masks, such
            as VOC's own list `ImageSets/Segmentation/train.txt` among SBD's images.
        extra_ids: Ids of the images themselves, in place of `extra_images`.
        extra_fraction: Share of each batch that is drawn from these images, for extra supervision alone; for batches of
            one image, of the batches. Epochs without extra supervision have no such draws.
        extra_weight: ω_e of GAIN eq. 8, the weight of extra supervision.
        extra_map: Map that is compared with the mask: divided by its maximum, or raw.
        extra_absent: On these images, also train the maps of the classes that they do not show towards 0. Such a map is
            divided by the largest maximum of the image's maps, as a constant. The means of both kinds are added.
    """

    paper: ClassVar[str] = "Li et al., Tell Me Where to Look: Guided Attention Inference Network (CVPR 2018)"
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
    extra_choice: Literal["balanced", "random"] = "balanced"
    extra_list: Location | None = None
    extra_ids: Annotated[tuple[str, ...], Field(strict=False)] = ()
    extra_fraction: Annotated[float, Field(gt=0, le=1)] = 0.25
    extra_weight: NonNegativeFloat = 10.0
    extra_map: Literal["normalized", "raw"] = "normalized"
    extra_absent: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.map_kind == "cam" and self.layer != "last":
            raise ValueError(f"map_kind=cam has no map of layer={self.layer}: set layer=last or map_kind=grad_cam")
        if self.extra_images >= 1 and self.extra_images != int(self.extra_images):
            given = f"extra_images={self.extra_images}"
            raise ValueError(f"{given} is neither a count nor a fraction: set a whole number, or less than 1")
        if self.extra_ids and self.extra_choice == "random":
            raise ValueError("extra_ids names the images, so that none are drawn: leave out extra_choice=random")
        if self.extra_ids and self.extra_list is not None:
            raise ValueError(
                "extra_ids and extra_list both say which images have masks or boxes: leave one of them out"
            )
        if self.extra_supervision != "none" and self.extra_weight == 0:
            kind = self.extra_supervision
            raise ValueError(
                f"extra_weight=0 disables extra_supervision={kind}: set extra_weight above 0, or extra_supervision=none"
            )
        return self

    def unused(self) -> Mapping[str, tuple[str, ...]]:
        mining = ("mask_scale", "mask_threshold", "mining_score", "mining_parameters", "mining_normalizer")
        extra = (
            *("extra_images", "extra_choice", "extra_list", "extra_ids", "extra_absent"),
            *("extra_fraction", "extra_weight", "extra_map"),
        )
        unused: dict[str, tuple[str, ...]] = {}
        if self.alpha == 0:
            neither = ("weight_gradient", "warmup_epochs") if self.extra_supervision == "none" else ()
            unused["alpha"] = (*mining, *neither)
        if self.extra_supervision == "none":
            unused["extra_supervision"] = (*extra, "warmup_extra")
        if self.warmup_epochs == 0 and self.extra_supervision != "none":
            unused["warmup_epochs"] = ("warmup_extra",)
        return unused

    def least_images(self, images: int, source_images: int) -> int:
        # The second pass has one image for each (image, class) pair.
        return 1 if self.alpha > 0 else images

    @property
    def weighs_classes(self) -> bool:
        return True

    def build(self) -> Gain:
        return Gain(self)

    def terms(self, epoch: int) -> tuple[str, ...]:
        mining, extra = self.active_terms(epoch)
        return ("classification", *(("mining",) if mining else ()), *(("extra",) if extra else ()))

    def idle_fields(self, epoch: int) -> frozenset[str]:
        if epoch >= self.warmup_epochs:
            return frozenset()
        mining = {"alpha", "mask_scale", "mask_threshold", "mining_score", "mining_parameters", "mining_normalizer"}
        _, extra = self.active_terms(epoch)
        idle = (
            mining
            | {"warmup_epochs"}
            | (set() if extra else {"extra_weight", "extra_map", "extra_absent", "weight_gradient"})
        )
        return frozenset(idle)

    def active_terms(self, epoch: int) -> tuple[bool, bool]:
        """Return whether attention mining and extra supervision are used in an epoch."""
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
        return Supervision(
            config.extra_supervision,
            config.extra_images,
            config.extra_fraction,
            config.extra_choice,
            config.extra_ids,
            config.extra_list,
            first_epoch=0 if config.warmup_extra else config.warmup_epochs,
        )

    def step(self, model: Model, batch: Batch, progress: Progress) -> StepOutput:
        """See `Method.step`; losses: loss, classification, mining (after warm-up), extra (with extra supervision).

        Rows of `batch.supervised` add to the extra supervision alone. A term that has no row in the batch is left out.
        """
        config = self.config
        output = model(batch.images)
        labelled = None if batch.supervised is None else ~batch.supervised
        # Without a row this is 0, but with a graph: distributed training waits for the gradient of every parameter.
        loss = classification_loss(
            _chosen(output.logits, labelled),
            _chosen(batch.labels, labelled),
            exclusive=batch.exclusive,
            weights=batch.class_weights,
        )
        terms = {"classification": loss}
        mining, extra = config.active_terms(progress.epoch)
        present = mining or progress.maps
        if not (present or extra):
            return StepOutput({"loss": loss, **_detached(_with_rows(terms, batch))})

        none = batch.region_pairs[:0]
        present_pairs = batch.pairs if present else none
        extra_pairs = batch.region_pairs if extra else none
        absent_pairs = _absent_pairs(batch) if extra and config.extra_absent else none
        present_maps, extra_maps, absent_maps = self._maps(output, present_pairs, extra_pairs, absent_pairs)
        if mining:
            mined = None if labelled is None else labelled[present_pairs[:, 0]]
            pairs = _chosen(present_pairs, mined)
            count = len(batch.images) if labelled is None else int(labelled.sum())
            terms["mining"] = self._mining(model, batch, _chosen(present_maps, mined), pairs, count)
            loss = loss + config.alpha * terms["mining"]
        if extra:
            terms["extra"] = self._extra(extra_maps, batch.regions, extra_pairs)
            if config.extra_absent:
                terms["extra"] = terms["extra"] + self._absent(absent_maps, absent_pairs, extra_maps, extra_pairs)
            loss = loss + config.extra_weight * terms["extra"]
        maps = StepMaps.of(output, present_maps) if progress.maps else None
        return StepOutput({"loss": loss, **_detached(_with_rows(terms, batch))}, maps)

    def _maps(self, output: Output, *lists_of_pairs: Tensor) -> tuple[Tensor, ...]:
        """Compute the maps of each list of pairs; a pair in several lists is computed once."""
        config = self.config
        pairs, rows = torch.unique(torch.cat(lists_of_pairs), dim=0, return_inverse=True)
        maps = attention(
            output, pairs, kind=config.map_kind, layer=config.layer, weight_gradient=config.weight_gradient
        )[rows.to(output.logits.device, non_blocking=True)]
        return maps.split([len(one) for one in lists_of_pairs])

    def _mining(self, model: Model, batch: Batch, maps: Tensor, pairs: Tensor, count: int) -> Tensor:
        """L_am: the score of each class for the image with its own attention erased (GAIN eq. 3-5).

        The mean is over all images that are mined, and an image without classes counts as 0: so the mean over workers
        equals the mean over the joint batch.

        Args:
            count: Number of these images.
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
        classes_N1 = pairs[:, 1:].to(scores.device, non_blocking=True)
        return attention_mining(scores.gather(1, classes_N1)[:, 0], pairs) * (_count_images(pairs) / count)

    def _extra(self, maps: Tensor, regions: Tensor, pairs: Tensor) -> Tensor:
        """L_e: squared difference from masks or boxes, resized to the map's size by area averaging (GAIN eq. 7)."""
        share = joint_share(maps.new_full((), _count_images(pairs), dtype=torch.int64))
        if len(pairs) == 0:
            return maps.sum()
        maps = normalize_max(maps) if self.config.extra_map == "normalized" else maps
        targets = functional.adaptive_avg_pool2d(regions, (maps.shape[1], maps.shape[2]))
        loss = external_supervision(maps, targets, pairs)
        return loss * share.to(loss.dtype)

    def _absent(self, maps: Tensor, pairs: Tensor, extra_maps: Tensor, extra_pairs: Tensor) -> Tensor:
        """Extra supervision of absent classes: H^c of GAIN eq. 7 is 0 everywhere.

        Args:
            maps, pairs: Of the absent classes.
            extra_maps, extra_pairs: Of the present classes of the same images.
        """
        share = joint_share(maps.new_full((), _count_images(pairs), dtype=torch.int64))
        if len(pairs) == 0:
            return maps.sum()
        if self.config.extra_map == "normalized":
            # An absent class's own maximum would keep its map at 1.
            rows = torch.cat([pairs, extra_pairs])[:, 0]
            count = int(rows.max()) + 1
            rows = rows.to(maps.device, non_blocking=True)
            peaks = torch.cat([maps, extra_maps]).detach().amax(dim=(1, 2))
            largest = peaks.new_zeros(count).scatter_reduce(0, rows, peaks, "amax")
            scale = largest[rows[: len(pairs)], None, None]
            maps = maps / torch.where(scale >= torch.finfo(maps.dtype).tiny, scale, 1)
        loss = external_supervision(maps, torch.zeros_like(maps), pairs)
        return loss * share.to(loss.dtype)


def _second_pass(model: Model, images: Tensor, *, fixed: bool) -> Tensor:
    """Logits of erased images, without updating batch-normalisation statistics.

    This bypasses the wrapper of distributed training. Its hooks on the parameters see the gradients of both passes
    anyway, and a second forward pass through it could overwrite buffers that the first pass's graph still needs.
    """
    network = getattr(model, "module", model)
    if not fixed:
        return network(images, update_statistics=False).logits
    if not isinstance(network, nn.Module):
        raise TypeError(f"mining_parameters=fixed needs a torch module, not {type(network).__name__}")
    constants = {name: value.detach() for name, value in (*network.named_parameters(), *network.named_buffers())}
    return functional_call(network, constants, (images,), {"update_statistics": False}).logits


def _absent_pairs(batch: Batch) -> Tensor:
    """int64 (N, 2) on the host: the pairs (image, class) of images with regions and the classes that they lack."""
    rows = batch.region_pairs[:, 0].unique()
    absent = (batch.host_labels[rows] == 0).nonzero()
    return torch.stack([rows[absent[:, 0]], absent[:, 1]], dim=1)


def _count_images(pairs: Tensor) -> int:
    return len(pairs[:, 0].unique())


def _chosen(values: Tensor, rows: Tensor | None) -> Tensor:
    """The chosen rows, by a mask on the host; all of them without a mask."""
    return values if rows is None else values[rows.nonzero()[:, 0].to(values.device, non_blocking=True)]


def _with_rows(terms: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
    """The terms that have a row in the batch; all of them if no row is drawn for extra supervision alone."""
    if batch.supervised is None:
        return terms
    apart = batch.supervised.tolist()
    return {name: term for name, term in terms.items() if (name == "extra") in apart}


def _detached(terms: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: term.detach() for name, term in terms.items()}
