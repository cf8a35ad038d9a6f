"""Losses that train a segmentation network on cues: cross-entropy, SEC, DSRG.

Shapes: B images, C channels of the output, of which 0 is the background, h×w output, H×W input.
"""

from __future__ import annotations

__all__ = ["CrossEntropyConfig", "DsrgConfig", "SecConfig", "SegmentationMethod", "SegmentationMethodConfig"]

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, Protocol

import numpy as np
import torch
from pydantic import Field, NonNegativeFloat
from torch import Tensor
from torch.nn import functional

from attn.config.base import Variant
from attn.data.sample import Batch
from attn.errors import ConfigError
from attn.losses import balanced_seeding, boundary, expansion, floored_log_softmax, grow_seeds, seeding
from attn.losses.segmentation import PROBABILITY_FLOOR
from attn.maps.dense_crf import CrfConfig
from attn.methods.base import Progress, StepOutput
from attn.methods.joint import joint_share
from attn.segmentation.cues import IGNORE
from attn.segmentation.grid import upsample_scores
from attn.segmentation.networks import SegmentationOutput
from attn.segmentation.refinement import Refinement

Share = Annotated[float, Field(ge=0, le=1)]
SegmentationModel = Callable[..., SegmentationOutput]

TRAINING_CRF = CrfConfig(
    bilateral_weight=10.0,
    bilateral_xy=80 / 12,
    bilateral_rgb=13.0,
    gaussian_weight=3.0,
    gaussian_xy=3 / 12,
)
"""SEC's, on an output twelve times smaller than the photographs whose edges its distances are made for."""


class SegmentationMethod(Protocol):
    """Computes a loss from a batch with cues and a network.

    Attributes:
        at_input: Whether the cues are wanted at every pixel of the input, and not at the output's positions.
    """

    @property
    def at_input(self) -> bool: ...

    def step(self, model: SegmentationModel, batch: Batch, progress: Progress) -> StepOutput:
        """As `attn.methods.base.Method.step`."""
        ...


class SegmentationMethodConfig(Variant, tag="name"):
    """A method's own configuration; `name` chooses the method. `paper` names the source of the method."""

    paper: ClassVar[str] = ""

    def build(self, refinement: Refinement) -> SegmentationMethod:
        """Make the method.

        Args:
            refinement: Computes CRFs on spare cores; those that need none leave it untouched.
        """
        raise TypeError(f"{type(self).__name__} does not say how to build its method")

    def terms(self) -> tuple[str, ...]:
        """Names of the losses beside `loss` that a step gives; the run records these."""
        raise TypeError(f"{type(self).__name__} does not say which losses its steps have")


class CrossEntropyConfig(SegmentationMethodConfig):
    """Softmax cross-entropy on every pixel that has a cue (DeepLab; OAA's proxy labels; full supervision).

    Attributes:
        resolution: Where scores and cues are compared: at the `output`'s positions, as DeepLab shrinks its labels, or
            at the `input`'s pixels, the scores being upsampled, as OAA does.
    """

    name: Literal["cross_entropy"] = "cross_entropy"
    resolution: Literal["output", "input"] = "output"

    def build(self, refinement: Refinement) -> SegmentationMethod:
        return CrossEntropy(at_input=self.resolution == "input")

    def terms(self) -> tuple[str, ...]:
        return ("cross_entropy",)


class CrfMethodConfig(SegmentationMethodConfig):
    """Base of SEC and DSRG.

    Attributes:
        crf: At the output's size, on the image at that size.
        boundary_weight: Of the constrain-to-boundary loss.
        processes: Beside each worker, for the CRFs of its batch; 0 computes them in the worker. None: as many as the
            worker has threads on a CPU, and its share of the machine's cores beside a GPU.
        overlap: In how many parts the batch goes through the network, the CRFs of one beside the forward pass of the
            next; None: 3 on a GPU, 1 on a CPU, whose cores are busy anyhow.
    """

    crf: CrfConfig = TRAINING_CRF
    boundary_weight: NonNegativeFloat = 1.0
    processes: Annotated[int, Field(ge=0, le=1024)] | None = None
    overlap: Annotated[int, Field(ge=1, le=16)] | None = None


class SecConfig(CrfMethodConfig):
    """Seed, expand and constrain: L = L_seed + L_expand + L_constrain (SEC eq. 1), each with a weight.

    Attributes:
        seed_weight: Weight of L_seed.
        expand_weight: Weight of L_expand.
        decay_present, decay_background: d of global weighted rank pooling.
    """

    paper: ClassVar[str] = "Kolesnikov & Lampert, Seed, Expand and Constrain (ECCV 2016)"
    name: Literal["sec"] = "sec"
    seed_weight: NonNegativeFloat = 1.0
    expand_weight: NonNegativeFloat = 1.0
    decay_present: Annotated[float, Field(gt=0, le=1)] = 0.996
    decay_background: Annotated[float, Field(gt=0, le=1)] = 0.999

    def unused(self) -> Mapping[str, tuple[str, ...]]:
        unused: dict[str, tuple[str, ...]] = {}
        if self.boundary_weight == 0:
            unused["boundary_weight"] = ("crf",)
        if self.expand_weight == 0:
            unused["expand_weight"] = ("decay_present", "decay_background")
        return unused

    def build(self, refinement: Refinement) -> SegmentationMethod:
        return Sec(self, refinement)

    def terms(self) -> tuple[str, ...]:
        return ("seed", "expand", "boundary")


class DsrgConfig(CrfMethodConfig):
    """Deep seeded region growing: balanced seeding on seeds that grow at every step, and the boundary loss.

    Attributes:
        foreground, background: Probabilities above which a pixel may join the seeds next to it.
        crf_unary: `log`: the CRF starts from log-probabilities. `probability`: from the probabilities themselves, a
            much weaker start, as the published code has it.
    """

    paper: ClassVar[str] = (
        "Huang et al., Weakly-Supervised Semantic Segmentation Network with Deep Seeded Region Growing (CVPR 2018)"
    )
    name: Literal["dsrg"] = "dsrg"
    foreground: Share = 0.85
    background: Share = 0.99
    crf_unary: Literal["log", "probability"] = "log"

    def build(self, refinement: Refinement) -> SegmentationMethod:
        return Dsrg(self, refinement)

    def terms(self) -> tuple[str, ...]:
        return ("seed", "boundary", "seeded")


@dataclass(frozen=True)
class CrossEntropy:
    """See `CrossEntropyConfig`."""

    at_input: bool

    def step(self, model: SegmentationModel, batch: Batch, progress: Progress) -> StepOutput:
        """Mean over all pixels with a cue, of the whole batch; losses: loss, cross_entropy."""
        cues = _cues(batch)
        logits = model(batch.images).logits
        if self.at_input:
            size = (batch.images.shape[2], batch.images.shape[3])
            logits = upsample_scores(logits, size, size)
        total = functional.cross_entropy(logits.float(), cues, ignore_index=IGNORE, reduction="sum")
        labelled = (cues != IGNORE).sum()
        loss = total / labelled.clamp(min=1) * joint_share(labelled).to(total.dtype)
        return StepOutput({"loss": loss, "cross_entropy": loss.detach()})


@dataclass(frozen=True)
class Sec:
    """See `SecConfig`."""

    config: SecConfig
    refinement: Refinement
    at_input: bool = False

    def step(self, model: SegmentationModel, batch: Batch, progress: Progress) -> StepOutput:
        """Losses: loss, seed, expand, boundary."""
        config, cues = self.config, _cues(batch)
        logits, waiting = self.refinement.forward(model, batch.images, config.crf, overlap=config.overlap)
        log_probs = floored_log_softmax(logits)
        terms = {
            "seed": seeding(log_probs, cues),
            "expand": expansion(
                log_probs.exp().clamp(max=1),
                batch.labels,
                decay_present=config.decay_present,
                decay_background=config.decay_background,
            ),
        }
        refined = _floored(waiting.result()).to(log_probs.device, non_blocking=True)
        terms["boundary"] = boundary(log_probs, refined)
        loss = (
            config.seed_weight * terms["seed"]
            + config.expand_weight * terms["expand"]
            + config.boundary_weight * terms["boundary"]
        )
        return StepOutput({"loss": loss} | {name: term.detach() for name, term in terms.items()})


@dataclass(frozen=True)
class Dsrg:
    """See `DsrgConfig`."""

    config: DsrgConfig
    refinement: Refinement
    at_input: bool = False

    def step(self, model: SegmentationModel, batch: Batch, progress: Progress) -> StepOutput:
        """Losses: loss, seed, boundary, and the share of pixels with a seed after growing."""
        config = self.config
        softened = config.crf_unary == "probability"
        logits, waiting = self.refinement.forward(
            model, batch.images, config.crf, overlap=config.overlap, probability_unary=softened
        )
        log_probs = floored_log_softmax(logits)
        refined = _floored(waiting.result())
        seeds = self._grown(batch, refined).to(log_probs.device, non_blocking=True)
        refined = refined.to(log_probs.device, non_blocking=True)
        terms = {"seed": balanced_seeding(log_probs, seeds), "boundary": boundary(log_probs, refined)}
        loss = terms["seed"] + config.boundary_weight * terms["boundary"]
        shares = {"seeded": (seeds != IGNORE).float().mean()}
        return StepOutput({"loss": loss} | {name: term.detach() for name, term in terms.items()} | shares)

    def _grown(self, batch: Batch, refined: Tensor) -> Tensor:
        """The batch's seeds, grown from its cues, all on the host; nothing is kept from one step to the next."""
        options = {"foreground": self.config.foreground, "background": self.config.background}
        cues = _given(batch.host_cues).long()
        images = zip(cues.numpy(), refined.numpy(), batch.host_labels.numpy(), strict=True)
        grown = [grow_seeds(cue, probs, present, **options) for cue, probs, present in images]
        return torch.from_numpy(np.stack(grown)).long()


def _cues(batch: Batch) -> Tensor:
    return _given(batch.cues).long()


def _given(cues: Tensor | None) -> Tensor:
    if cues is None:
        raise ConfigError("the batch carries no cues: give the run's labels")
    return cues


def _floored(refined: Tensor) -> Tensor:
    """The CRF's probabilities with the floor that the network's own have (SEC)."""
    floored = refined.clamp(min=PROBABILITY_FLOOR)
    return floored / floored.sum(dim=1, keepdim=True)
