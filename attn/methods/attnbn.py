"""AttnBN, "Attention Bridging Network for Knowledge Transfer" (Li et al., ICCV 2019).

Shapes: B target images, S source images, N (image, class) pairs, K channels, h×w feature map.

Two streams share one network. Source images have a single class and a saliency map that shows the whole object; their
attention maps are trained to match it (AttnBN eq. 3). Target images, the run's own data, have several classes, which
saliency maps cannot tell apart; their maps improve as the weights are shared. A discriminator learns to separate the
features of the two streams (AttnBN eq. 5), and the network learns to fool it (AttnBN eq. 6).
"""

from __future__ import annotations

__all__ = ["AttnBN", "AttnBNConfig"]

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, NamedTuple, Self

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional

from attn.data.sample import Batch
from attn.data.sources import SourceConfig
from attn.losses import adversarial_loss, attention_constraint, discriminator_loss, multilabel_soft_margin
from attn.maps import MapKind, attention, normalize_max
from attn.methods.base import Auxiliary, MethodConfig, Model, Progress, SourceStream, StepMaps, StepOutput, Supervision
from attn.models.discriminator import Discriminator
from attn.models.eager_optimizers import Adam
from attn.models.network import Network
from attn.models.output import Output

Term = Literal["source", "attention", "target", "adversarial"]
EVERYTHING: tuple[Term, ...] = ("source", "attention", "target", "adversarial")


class AttnBNConfig(MethodConfig):
    """L_ab = L_s-cl + λ1 L_ac + L_t-cl + λ_adv L_adv (AttnBN eq. 7), or a selection of these terms.

    Attributes:
        losses: The terms of the loss. The rows of the paper's Table 1 are `[target]`, `[target, source]`,
            `[source, attention]`, `[source, attention, target]` and all four. Those of Table 6 are `[source]` and
            `[source, attention]` (generalisation, without target images), `[source, adversarial]` and
            `[source, attention, adversarial]` (adaptation, with target images but without their labels).
        source: Images with one class each, and with saliency maps if `attention` is among the losses. Classes are
            matched with the target's by name, and may be fewer.
        source_images: Number of the source's images to train on, drawn at random: a count, or a fraction below 1 (Table
            2). Of one seed a smaller draw is a part of a larger one. None: all.
        source_batch_size: Source images per optimiser step, over all workers; by default as many as target images.
        attention_weight: λ1 of AttnBN eq. 7.
        adversarial_weight: λ_adv of AttnBN eq. 7.
        discriminator_lr, discriminator_betas: Parameters of the discriminator's optimiser, Adam.
        map_kind: Kind of map that is constrained.
        weight_gradient: Train the map through its weights w_k too, not only through the features.
    """

    paper: ClassVar[str] = "Li et al., Attention Bridging Network for Knowledge Transfer (ICCV 2019)"
    name: Literal["attnbn"] = "attnbn"
    losses: tuple[Term, ...] = EVERYTHING
    source: SourceConfig | None = None
    source_images: PositiveFloat | None = None
    source_batch_size: PositiveInt | None = None
    attention_weight: NonNegativeFloat = 2.0
    adversarial_weight: NonNegativeFloat = 1e-3
    discriminator_lr: PositiveFloat = 1e-4
    discriminator_betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.99)
    map_kind: MapKind = "grad_cam"
    weight_gradient: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        given = f"losses=[{', '.join(self.losses)}]"
        if not self.losses or len(set(self.losses)) < len(self.losses):
            raise ValueError(f"{given} must name one or more of {', '.join(EVERYTHING)}, each once")
        if "source" not in self.losses and set(self.losses) != {"target"}:
            raise ValueError(f"{given} lacks the classification of source images: add source, or set [target]")
        if (count := self.source_images) is not None and count >= 1 and count != int(count):
            fault = f"source_images={count} is neither a count nor a fraction"
            raise ValueError(f"{fault}: set a whole number, or less than 1")
        if self.source_images == 1:
            raise ValueError("source_images=1 would be one image: leave it out for all of them, or set 2 or more")
        if "source" in self.losses and self.source is None:
            raise ValueError(
                f"{given} needs source images: set method.source, such as method.source.source=voc "
                "method.source.root=... method.source.saliency=... method.source.single_label=true"
            )
        return self

    def unused(self) -> Mapping[str, tuple[str, ...]]:
        terms = {
            "source": ("source", "source_images", "source_batch_size"),
            "attention": ("attention_weight", "weight_gradient"),
            "adversarial": ("adversarial_weight", "discriminator_lr", "discriminator_betas"),
        }
        unused = tuple(name for term, names in terms.items() if term not in self.losses for name in names)
        return {"losses": unused} if unused else {}

    @property
    def source_stream(self) -> SourceStream | None:
        if "source" not in self.losses or self.source is None:
            return None
        return SourceStream(
            self.source,
            self.source_batch_size,
            images=self.source_images,
            saliency="attention" in self.losses,
            single_label=True,
        )

    def least_images(self, images: int, source_images: int) -> int:
        # Both streams go through the network together.
        seen = "target" in self.losses or "adversarial" in self.losses
        return (images if seen else 0) + source_images

    @property
    def weighs_classes(self) -> bool:
        return self.losses == ("target",)

    def build(self) -> AttnBN:
        return AttnBN(self)

    def terms(self, epoch: int) -> tuple[str, ...]:
        return (*self.losses, *(("discriminator",) if "adversarial" in self.losses else ()))


class _Streams(NamedTuple):
    """Both streams of one step: first the target images, then the source images; either may be missing."""

    output: Output
    targets: int

    def logits(self, *, of_source: bool) -> Tensor:
        return self.output.logits[self.targets :] if of_source else self.output.logits[: self.targets]

    def features(self, *, of_source: bool) -> Tensor:
        features = self.output.features["last"]
        return features[self.targets :] if of_source else features[: self.targets]


class AttnBN:
    """See `AttnBNConfig`.

    Attributes:
        discriminator: None before `auxiliary` has been called, and without the loss `adversarial`.
    """

    layers: tuple[str, ...] = ()
    layer: str = "last"
    supervision: Supervision | None = None

    def __init__(self, config: AttnBNConfig) -> None:
        self.config = config
        self.discriminator: Discriminator | None = None

    @property
    def map_kind(self) -> MapKind:
        return self.config.map_kind

    def auxiliary(self, network: Network) -> Auxiliary | None:
        """Create the discriminator and its optimiser for the features of a network."""
        if "adversarial" not in self.config.losses:
            return None
        self.discriminator = Discriminator(network.channels)
        optimizer = Adam(
            self.discriminator.parameters(), lr=self.config.discriminator_lr, betas=self.config.discriminator_betas
        )
        return Auxiliary("discriminator", self.discriminator, optimizer)

    def step(self, model: Model, batch: Batch, progress: Progress) -> StepOutput:
        """See `Method.step`; losses: loss, and the selected ones of source, attention, target, adversarial.

        With `adversarial` also discriminator (L_d), whose graph contains the discriminator only.
        """
        losses, source = self.config.losses, batch.source_batch
        seen = "target" in losses or "adversarial" in losses or progress.maps
        streams = _forward(model, batch.images if seen else None, None if source is None else source.images)
        terms: dict[str, tuple[float, Tensor]] = {}
        if source is not None:
            terms["source"] = 1.0, multilabel_soft_margin(streams.logits(of_source=True), source.labels)
        if source is not None and "attention" in losses:
            terms["attention"] = self.config.attention_weight, self._constraint(streams, source)
        if "target" in losses:
            logits_BC = streams.logits(of_source=False)
            terms["target"] = 1.0, multilabel_soft_margin(logits_BC, batch.labels, weights=batch.class_weights)
        if "adversarial" in losses:
            terms["adversarial"] = self.config.adversarial_weight, self._adversarial(streams)
        loss = torch.stack([weight * term for weight, term in terms.values()]).sum()
        result = {"loss": loss} | {name: term.detach() for name, (_, term) in terms.items()}
        if "adversarial" in losses:
            result["discriminator"] = self._discriminated(streams)
        if not progress.maps:
            return StepOutput(result)
        output = streams.output._replace(logits=streams.logits(of_source=False))
        return StepOutput(result, StepMaps.of(output, self._maps(streams.output, batch.pairs)))

    def _maps(self, output: Output, pairs_N2: Tensor) -> Tensor:
        config = self.config
        return attention(output, pairs_N2, kind=config.map_kind, weight_gradient=config.weight_gradient)

    def _constraint(self, streams: _Streams, source: Batch) -> Tensor:
        """L_ac: maps of the source images' only classes compared with their saliency maps (AttnBN eq. 3)."""
        pairs_N2 = source.pairs
        maps_Nhw = self._maps(streams.output, pairs_N2 + pairs_N2.new_tensor([streams.targets, 0]))
        assert source.saliency is not None, "the second stream was requested with saliency"
        saliency_Nhw = functional.adaptive_avg_pool2d(source.saliency, (maps_Nhw.shape[1], maps_Nhw.shape[2]))
        images_N = pairs_N2[:, 0].to(saliency_Nhw.device, non_blocking=True)
        return attention_constraint(normalize_max(maps_Nhw), saliency_Nhw[images_N])

    def _adversarial(self, streams: _Streams) -> Tensor:
        """L_adv, with the discriminator's parameters as constants (AttnBN eq. 6)."""
        discriminator = self._ready()
        constants = {name: value.detach() for name, value in discriminator.named_parameters()}
        return adversarial_loss(functional_call(discriminator, constants, (streams.features(of_source=False),)))

    def _discriminated(self, streams: _Streams) -> Tensor:
        """L_d, with the features as constants (AttnBN eq. 5)."""
        logits = self._ready()(streams.output.features["last"].detach())
        return discriminator_loss(logits[streams.targets :], logits[: streams.targets])

    def _ready(self) -> Discriminator:
        if self.discriminator is None:
            raise RuntimeError("AttnBN has no discriminator: call auxiliary(network) before the first step")
        return self.discriminator


def _forward(model: Model, target: Tensor | None, source: Tensor | None) -> _Streams:
    """One forward pass for both streams; their inputs have the same size."""
    images = torch.cat([images for images in (target, source) if images is not None])
    return _Streams(model(images), 0 if target is None else len(target))
