"""Inputs that a network cannot be trained or used on, refused before data is read or a process is started."""

from __future__ import annotations

__all__ = ["check_input", "check_inputs"]

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from torch import nn

from attn.config.pipeline import PipelineConfig
from attn.config.run import RunConfig
from attn.config.segment import SegmentConfig
from attn.config.train import TrainConfig
from attn.data.transforms import InputConfig
from attn.errors import ConfigError, Fault
from attn.models.backbone import architecture
from attn.models.least_input import POSITIONS, Size, fits, least_side
from attn.models.network import ModelConfig, Network

if TYPE_CHECKING:
    from attn.segmentation.networks import SegmentationModelConfig


def check_inputs(config: RunConfig | PipelineConfig) -> None:
    """Refuse a config whose network leaves nothing of an input, or normalises over a single value.

    Raises:
        ConfigError: With the fields and the least values that would do.
    """
    if faults := _faults(config, ""):
        raise ConfigError(faults)


def check_input(network: Network, input: InputConfig) -> None:
    """Refuse an input that a trained network cannot take.

    Raises:
        ConfigError: With the least size that would do.
    """
    size = _size(input)
    if min(size) < _enough(network.config) and (fault := _too_small("", network.config, network, size)):
        raise ConfigError([fault])


def _faults(config: RunConfig | PipelineConfig, prefix: str) -> list[Fault]:
    if isinstance(config, PipelineConfig):
        sections = {"train": config.train, "integral": config.integral, "segment": config.segment}
        found = [_faults(part, f"{prefix}{name}.") for name, part in sections.items() if part is not None]
        return [fault for faults in found for fault in faults]
    parts = config.cluster.workers * config.training.accumulate_steps
    images, size = config.training.batch_size // parts, _size(config.input)
    if isinstance(config, TrainConfig):
        companion = config.method.companion
        others = 0 if companion is None else (companion.batch_size or config.training.batch_size) // parts
        least, more = (config.method.least_images(times * images, times * others) for times in (1, 2))
        bare = config.model.model_copy(update={"weights": None, "fc_width": 1, "head_width": 1})
        return _of_training(config, prefix, config.model, partial(Network, bare, 1, ()), size, least, more > least)
    assert isinstance(config, SegmentConfig), "the kinds of runs are these"
    faults = _of_training(config, prefix, config.model, partial(_segmentation, config.model), size, images, True)
    if config.retrain is not None:
        faults += _faults(config.second_round(labels=config.labels, weights=""), f"{prefix}retrain.")
    return faults


def _of_training(
    config: RunConfig,
    prefix: str,
    model: ModelConfig | SegmentationModelConfig,
    build: Callable[[], nn.Module],
    size: Size,
    images: int,
    by_batch: bool,
) -> list[Fault]:
    """Faults of one network that is trained.

    Args:
        images: Fewest of one pass.
        by_batch: Whether a larger batch makes them more.
    """
    enough = _enough(model)
    if min(size) >= enough:
        return []
    network = build()
    if fault := _too_small(prefix, model, network, size):
        return [fault]
    if fits(network, size, min(images, 2), training=True):
        return []

    def takes(larger: Size) -> bool:
        return fits(network, larger, min(images, 2), training=True)

    least = max(least_side(takes, enough), max(size) + 1)
    parts = config.cluster.workers * config.training.accumulate_steps
    ways = [f"{prefix}training.batch_size={2 * parts} or more"] if by_batch else []
    ways += [f"{prefix}input.size={least} or more", f"{prefix}model.batch_norm=frozen"]
    whole = "a worker's step" if by_batch else "a pass of the method"
    problem = (
        f"{config.training.batch_size} leaves {whole} with one image, of which {_named(model)} keeps one position at "
        f"input.size={_shown(size)}: batch normalisation cannot be trained on one value per channel"
    )
    return [Fault(f"{prefix}training.batch_size", problem, ", or ".join(ways))]


def _too_small(
    prefix: str, model: ModelConfig | SegmentationModelConfig, network: nn.Module, size: Size
) -> Fault | None:
    if fits(network, size):
        return None
    least = least_side(partial(fits, network), _enough(model))
    problem = f"{_shown(size)} is too small for {_named(model)}, of which layers would have nothing left"
    return Fault(f"{prefix}input.size", problem, f"{least} or more a side")


def _segmentation(model: SegmentationModelConfig) -> nn.Module:
    from attn.segmentation.networks import SegmentationNetwork

    return SegmentationNetwork(
        model.model_copy(update={"weights": None, "hidden": None if model.hidden is None else 1}), 1
    )


def _enough(model: ModelConfig | SegmentationModelConfig) -> int:
    return POSITIONS * max(architecture(model.name).strides)


def _named(model: ModelConfig | SegmentationModelConfig) -> str:
    stride = model.output_stride if isinstance(model, ModelConfig) else model.stride
    return f"{model.name} (stride {stride}, head {model.head})"


def _size(input: InputConfig) -> Size:
    """The smallest input: of images whose aspect is kept, a square one."""
    return (input.size, input.size) if isinstance(input.size, int) else input.size


def _shown(size: Size) -> str:
    return str(size[0]) if size[0] == size[1] else f"[{size[0]}, {size[1]}]"
