"""The classification network: a backbone, a head, and the layers whose features it exposes.

Shapes: B images, C classes, K channels, h×w feature map, H×W input.
"""

from __future__ import annotations

__all__ = ["ModelConfig", "Network"]

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import Annotated, Literal, Self

from pydantic import Field, PositiveInt, model_validator
from torch import Tensor

from attn.config.base import Config, Location
from attn.errors import ConfigError, Fault
from attn.models.backbone import FACTORY, architecture, in_graph
from attn.models.backbone_network import BackboneNetwork, check_backbone, either
from attn.models.class_rows import rows_by_class
from attn.models.heads import ClassAware, FullyConnected, Head, PooledLinear
from attn.models.normalization import frozen_statistics
from attn.models.output import Output
from attn.models.weights import fit, read_weights, weights_faults, with_our_names


class ModelConfig(Config):
    """A classification network.

    Attributes:
        name: Architecture: see `attn.models.architectures()`; or `timm/NAME`, a network of timm.
        factory: A function of yours that makes the network, as `package.module:function`, in place of `name`; see
            `attn.models.factory`.
        weights: Initial weights: `imagenet` for torchvision's or timm's own; a path or `s3://` URI of a state dict or
            of a trained model's folder (its classifier's rows are matched by class name); None for random weights.
        head: `gap`: average pooling and a linear layer. `conv`: class-aware convolution, which gives the map kind
            `cam`. `fc`: VGG's fully connected layers.
        stride: Input pixels per feature; a value below the architecture's own replaces late strides by dilation. None:
            the architecture's own.
        widths: Channels of each stage, if the architecture permits the choice.
        head_convolutions: Number of 3×3 convolutions with ReLU before the class-aware one; OAA has 3.
        head_width: Channels of these convolutions.
        fc_width: Width of fc6 and fc7.
        fc_dropout: Dropout after fc6 and fc7.
        batch_norm: `frozen` normalises by the running statistics in training mode too, and does not update them.
        batch_norm_affine: Whether scale and shift of batch normalisation are trained.
        freeze_stages: Number of first stages that are not trained, including their running statistics.
    """

    name: str = "resnet18"
    factory: Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")] | None = None
    weights: Literal["imagenet"] | Location | None = "imagenet"
    head: Literal["gap", "conv", "fc"] = "gap"
    stride: PositiveInt | None = None
    widths: Annotated[tuple[PositiveInt, ...], Field(strict=False)] | None = None
    head_convolutions: Annotated[int, Field(ge=0, le=8)] = 0
    head_width: PositiveInt = 512
    fc_width: PositiveInt = 4096
    fc_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    batch_norm: Literal["train", "frozen"] = "train"
    batch_norm_affine: bool = True
    freeze_stages: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _name(self) -> Self:
        if self.factory is not None:
            object.__setattr__(self, "name", f"{FACTORY}{self.factory}")
        return self

    @model_validator(mode="after")
    def _check(self) -> Self:
        chosen = check_backbone(self)
        if self.head not in chosen.heads:
            raise ValueError(f"{self.name} cannot have head={self.head}: set head to {either(chosen.heads)}")
        if self.head_convolutions and self.head != "conv":
            raise ValueError(f"head_convolutions={self.head_convolutions} needs head=conv, not {self.head}")
        if self.weights == "imagenet" and self.head == "fc" and self.fc_width != 4096:
            raise ValueError(f"imagenet weights need fc_width=4096, not {self.fc_width}: set it, or weights=null")
        return self

    def unused(self) -> Mapping[str, tuple[str, ...]]:
        unused: dict[str, tuple[str, ...]] = {}
        fully_connected = () if self.head == "fc" else ("fc_width", "fc_dropout")
        if names := (*fully_connected, *(() if self.head == "conv" else ("head_width",))):
            unused["head"] = names
        if self.head == "conv" and not self.head_convolutions:
            unused["head_convolutions"] = ("head_width",)
        return unused

    def missing_files(self, prefix: str = "") -> Iterator[Fault]:
        yield from super().missing_files(prefix)
        yield from weights_faults(f"{prefix}weights", self.weights, lambda: self.build(1))

    @property
    def output_stride(self) -> int:
        """Input pixels per feature of the layer `last`."""
        return self.stride or architecture(self.name).strides[0]

    def build(self, classes: Sequence[str] | int, layers: Sequence[str] = ()) -> Network:
        """Build the network; deterministic after `torch.manual_seed`.

        Args:
            classes: Class names in the order of the logits, which are matched with those of a trained classifier; or
                the number of classes.
            layers: Feature layers to expose besides `last`.

        Raises:
            ConfigError: A layer is unknown, or more stages are frozen than exist.
            WeightsError: The weights cannot be read or do not fit.
        """
        names = None if isinstance(classes, int) else tuple(classes)
        network = Network(self, classes if isinstance(classes, int) else len(classes), layers)
        if self.weights is not None:
            chosen, own = architecture(self.name), network.state_dict()
            trained = read_weights(self.weights, chosen.weights)
            counterparts = ("fc6", "fc7", "classifier") if self.head == "fc" else ("classifier",)
            state = with_our_names(trained.state, chosen.classifiers, counterparts, chosen.prefix)
            scores = [name for name in own if name.startswith("head.classifier.")]
            state, notice = rows_by_class(trained, state, own, scores, names)
            state, adapted = network.backbone.adapt(state, "backbone.")
            initial = fit(network, state, [name for name in own if network.is_head(name)], trained.origin)
            # Nobody expects torchvision's classifier to be used.
            notices = [] if self.weights == "imagenet" else [f"{trained.origin}: {text}" for text in initial]
            if adapted:
                notices.append(f"{trained.origin}: {adapted}")
            network.notices = (*([notice] if notice else []), *notices)
        return network


class Network(BackboneNetwork[ModelConfig]):
    """Computes class scores and features of images.

    Attributes:
        layers: All names that `Output.features` can have: the stages, `inner` (last convolution of the penultimate
            stage) and `last` (last convolution before classification).
    """

    def __init__(self, config: ModelConfig, num_classes: int, layers: Sequence[str] = ()) -> None:
        if num_classes < 1:
            raise ConfigError(f"a network needs at least one class, not {num_classes}")
        super().__init__(config, num_classes, config.output_stride)
        self.head: Head = _head(config, self.backbone.channels, num_classes)
        self.layers = (*self.backbone.stages(), "inner", "last")
        self._expose(layers)
        self.freeze()

    @property
    def channels(self) -> int:
        """Channels of the layer `last`."""
        return self.head.channels

    def forward(self, images_BCHW: Tensor, *, update_statistics: bool = True) -> Output:
        """Compute scores and features.

        If gradients are enabled, exposed features always require gradients, so that maps can be computed even if all
        parameters are frozen. The graph then begins at the first exposed layer.

        Args:
            update_statistics: Whether batch normalisation updates its running statistics in training mode.
        """
        with nullcontext() if update_statistics else frozen_statistics(self):
            features = self.features(images_BCHW)
            scores = self.head.score(features["last"])
        return Output(scores.logits, features | {"last": scores.features}, scores.class_maps, scores.linear_weight)

    def features(self, images_BCHW: Tensor) -> dict[str, Tensor]:
        """Compute the exposed features and `last`, without scores."""
        computed = self.backbone(images_BCHW, self._exposed)
        exposed = {name: computed[stage] for stage, names in self._exposed.items() for name in names}
        return exposed | {"last": in_graph(self.head.before(computed["last"]))}

    def expose(self, layer: str) -> None:
        """Expose one more feature layer.

        Raises:
            ConfigError: The layer is unknown.
        """
        names = [name for group in self._exposed.values() for name in group]
        self._expose([*names, layer])

    def is_head(self, parameter_name: str) -> bool:
        """Return whether a parameter is of the head's new layers, which start untrained; not of VGG's fc6 and fc7."""
        prefixes = tuple(f"head.{name}." for name in self.head.new)
        return parameter_name.removeprefix("module.").startswith(prefixes)

    def _expose(self, layers: Sequence[str]) -> None:
        self._exposed = self._resolve(layers)
        self.backbone.differentiate_twice(self._exposed)

    def _resolve(self, layers: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """The names under which each stage's output is exposed."""
        exposed: dict[str, tuple[str, ...]] = {}
        for name in dict.fromkeys(layers):
            if name not in self.layers:
                raise ConfigError(f"{self.config.name} has no layer {name!r}; it has {', '.join(self.layers)}")
            if name != "last":
                stage = self.backbone.inner if name == "inner" else name
                exposed[stage] = (*exposed.get(stage, ()), name)
        return exposed


def _head(config: ModelConfig, channels: int, classes: int) -> Head:
    if config.head == "gap":
        return PooledLinear(channels, classes)
    if config.head == "conv":
        return ClassAware(channels, classes, convolutions=config.head_convolutions, width=config.head_width)
    return FullyConnected(channels, classes, width=config.fc_width, dropout=config.fc_dropout)
