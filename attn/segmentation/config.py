"""The configuration of training a segmentation network, and of using a trained one."""

from __future__ import annotations

__all__ = ["SegmentPredictConfig", "RetrainConfig", "SegmentConfig"]

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import Field, model_validator

from attn.config.base import Config, Location
from attn.data.sources import SourceConfig
from attn.data.transforms import InputConfig
from attn.errors import Fault
from attn.maps.dense_crf import SEC_CRF
from attn.segmentation.labels import LabelsConfig
from attn.segmentation.masks import MOST_CLASSES
from attn.segmentation.methods import CrossEntropyConfig, SegmentationMethodConfig
from attn.segmentation.networks import SegmentationModelConfig, SegmentationNetwork
from attn.segmentation.predict import SegmentInferenceConfig
from attn.tracking.model_lookup import ModelLookup
from attn.training.config import TrainingConfig
from attn.training.inputs import training_faults
from attn.training.network_faults import network_faults
from attn.training.network_input import own_input
from attn.training.optimizer import OptimizerConfig
from attn.training.run_config import RunConfig, check_batch, check_scores
from attn.training.schedule import Poly, ScheduleConfig


class RetrainConfig(Config):
    """A second round, by cross-entropy on the masks that the first round's network gives the training images (DSRG).

    It starts from the first round's weights.

    Attributes:
        labels: How those masks are made.
        restrict: Allow an image only its own classes.
        method, input, inference, optimizer, schedule, training: Of the second round; input and inference are the first
            one's where they are not given.
    """

    labels: SegmentInferenceConfig = SegmentInferenceConfig(scales=(0.75, 1.0, 1.25), crf=SEC_CRF)
    restrict: bool = True
    method: CrossEntropyConfig = CrossEntropyConfig()
    input: InputConfig | None = None
    inference: SegmentInferenceConfig | None = None
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = Poly()
    training: TrainingConfig = TrainingConfig()


class SegmentConfig(RunConfig):
    """Training a segmentation network.

    Attributes:
        labels: What it learns from.
        inference: How its scores become masks, in validation (at one scale, without the CRF) and once it is trained.
        retrain: A second round on the network's own masks.
    """

    kind: Literal["segment"] = "segment"  # pyright: ignore[reportIncompatibleVariableOverride]
    labels: LabelsConfig
    model: SegmentationModelConfig
    method: SegmentationMethodConfig
    inference: SegmentInferenceConfig = SegmentInferenceConfig()
    retrain: RetrainConfig | None = None

    @property
    def title(self) -> str:
        return f"segment-{self.method.variant}"

    @property
    def validation_scores(self) -> tuple[str, ...]:
        return ("val/miou", "val/accuracy")

    def loss_terms(self, epoch: int) -> tuple[str, ...]:
        return self.method.terms()

    def second_round(self, *, labels: LabelsConfig, weights: str) -> SegmentConfig:
        """The config of the second round.

        Args:
            labels: The masks that the first round's network gave.
            weights: The first round's trained model.
        """
        assert self.retrain is not None, "asked for by a config that has a second round"
        again = self.retrain
        return self.model_copy(
            update={
                "labels": labels,
                "model": self.model.model_copy(update={"weights": weights}),
                "method": again.method,
                "input": again.input or self.input,
                "inference": again.inference or self.inference,
                "optimizer": again.optimizer,
                "schedule": again.schedule,
                "training": again.training,
                "retrain": None,
            }
        )

    def input_faults(self, prefix: str = "") -> list[Fault]:
        images = self.training.batch_size // (self.cluster.most_workers * self.training.accumulate_steps)
        bare = self.model.model_copy(update={"weights": None, "hidden": None if self.model.hidden is None else 1})
        classes = getattr(self.data, "classes", None)
        if classes is not None and len(classes) > MOST_CLASSES:
            problem = f"{len(classes)} classes are more than a mask can have"
            return [Fault(f"{prefix}data.classes", problem, f"{MOST_CLASSES} or fewer")]
        faults = network_faults(prefix, lambda _: SegmentationNetwork(bare, 1), self.model.freeze_stages)
        faults = faults or training_faults(
            self, prefix, self.model, lambda: SegmentationNetwork(bare, 1), images, by_batch=True
        )
        if self.retrain is not None:
            faults += self.second_round(labels=self.labels, weights="").input_faults(f"{prefix}retrain.")
        return faults

    @model_validator(mode="after")
    def _choose_input(self) -> Self:
        object.__setattr__(self, "input", own_input(self.input, self.model.name))
        if self.retrain is not None and self.retrain.input is not None:
            again = own_input(self.retrain.input, self.model.name)
            object.__setattr__(self, "retrain", self.retrain.model_copy(update={"input": again}))
        return self

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.validation.average_precision != "sklearn":
            raise ValueError(
                f"validation.average_precision={self.validation.average_precision} is of classifiers; a segmentation "
                "network is validated by mIoU: leave it out"
            )
        if changed := self.validation.maps.changes():
            raise ValueError(
                f"validation.maps.{next(iter(changed))} is of classifiers' maps, which a segmentation network has none "
                "of: leave it out; labels.maps is how the maps of cues are made"
            )
        trainings = {"training": self.training} | ({"retrain.training": self.retrain.training} if self.retrain else {})
        for name, training in trainings.items():
            if training.class_weights is not None:
                raise ValueError(
                    f"{name}.class_weights={training.class_weights} is of classifiers; a segmentation network learns "
                    "from pixels: leave it out, or set sampling=balanced"
                )
        inputs = {"input": self.input} | ({"retrain.input": self.retrain.input} if self.retrain else {})
        for name, config in inputs.items():
            if config is not None and config.resize == "short_side":
                raise ValueError(
                    f"{name}.resize=short_side gives outputs of differing sizes: set it to squash or scaled_crop"
                )
        if self.retrain is not None:
            stopping = self.retrain.training.early_stopping
            check_scores(
                self.second_round(labels=self.labels, weights=""),
                {
                    "checkpoint.best (in the second round)": self.checkpoint.best,
                    "retrain.training.early_stopping.metric": stopping and stopping.metric,
                },
            )
            again = self.retrain.training
            shards, steps = self.cluster.most_workers * again.accumulate_steps, "retrain.training.accumulate_steps"
            check_batch("retrain.training.batch_size", again.batch_size, shards, steps)
        return self


class SegmentPredictConfig(ModelLookup):
    """Masks of a trained segmentation network, and their scores where the data has masks.

    Attributes:
        data: By default the validation split of the data that the network was trained on.
        inference: By default as the run had it.
        masks: Whether the masks are kept, as palette PNGs in the run's folder.
        panels: How many images are drawn with their masks.
        cues: Labels to draw beside the masks, as `labels.path` of training, where they have the image; by default what
            the network's own run made.
        processes: For the CRF, beside each that predicts. None: one a core, and none where Ray processes share the
            images, each of which computes its own CRFs.
        record_in_training: Add the scores to the record of the model's training, if the server has it.
        device: `auto`: a GPU where there is one.
        tasks: Ray processes that share the images, at most as many as there are cores, or GPUs where these are used.
            By default all is done in this process, or by a whole cluster if its address is given.
    """

    data: SourceConfig
    inference: SegmentInferenceConfig = SegmentInferenceConfig()
    masks: bool = True
    panels: int = Field(default=8, ge=0, le=200)
    cues: Location | None = None
    processes: int | None = Field(default=None, ge=0, le=1024)
    record_in_training: bool = True
    device: Literal["auto", "cpu", "gpu"] = "auto"
    tasks: int | None = Field(default=None, ge=1, le=4096)

    def unused(self) -> Mapping[str, tuple[str, ...]]:
        return {} if self.inference.crf else {"inference.crf": ("processes",)}
