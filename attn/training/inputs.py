"""Refuses input sizes that a network cannot be trained or used on, before data is read or a process is started."""

from __future__ import annotations

__all__ = ["HasInputs", "SizedModel", "check_input", "check_inputs", "training_faults"]

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Protocol

from torch import nn

from attn.data.transforms import InputConfig
from attn.errors import ConfigError, Fault
from attn.models.backbone import architecture
from attn.models.least_input import POSITIONS, Size, fits, least_side
from attn.models.network import Network

if TYPE_CHECKING:
    from attn.training.run_config import RunConfig


class SizedModel(Protocol):
    """The fields of a network's config that determine the size of its output."""

    @property
    def name(self) -> str: ...

    @property
    def output_stride(self) -> int: ...

    @property
    def head(self) -> str: ...


class HasInputs(Protocol):
    """The config of a run whose networks have an input."""

    def input_faults(self, prefix: str = "") -> list[Fault]:
        """Inputs that are too small: a layer would have no output, or normalise over a single value."""
        ...


def check_inputs(config: HasInputs) -> None:
    """Refuse a config with too small inputs: a layer would have no output, or normalise over a single value.

    Raises:
        ConfigError: With the fields and the least values that would do.
    """
    if faults := config.input_faults():
        raise ConfigError(faults)


def check_input(network: Network, input: InputConfig) -> None:
    """Refuse an input that a trained network cannot take.

    Raises:
        ConfigError: With the least size that would do.
    """
    size = _smallest(input)
    if min(size) < _enough(network.config) and (fault := _too_small("", network.config, network, size)):
        raise ConfigError([fault])


def training_faults(
    config: RunConfig,
    prefix: str,
    model: SizedModel,
    build: Callable[[], nn.Module],
    images: int,
    *,
    by_batch: bool,
) -> list[Fault]:
    """Faults of the input of one network that is trained.

    Args:
        images: Fewest images of one pass.
        by_batch: Whether a larger batch increases them.
    """
    size, enough = _smallest(config.input), _enough(model)
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
    shards = config.cluster.workers * config.training.accumulate_steps
    ways = [f"{prefix}training.batch_size={2 * shards} or more"] if by_batch else []
    ways += [f"{prefix}input.size={least} or more", f"{prefix}model.batch_norm=frozen"]
    whole = "a worker's step" if by_batch else "a pass of the method"
    problem = (
        f"{config.training.batch_size} leaves {whole} with one image, of which {_named(model)} keeps one position at "
        f"input.size={_shown(size)}: batch normalisation cannot be trained on one value per channel"
    )
    return [Fault(f"{prefix}training.batch_size", problem, ", or ".join(ways))]


def _too_small(prefix: str, model: SizedModel, network: nn.Module, size: Size) -> Fault | None:
    if fits(network, size):
        return None
    least = least_side(partial(fits, network), _enough(model))
    problem = f"{_shown(size)} is too small for {_named(model)}, of which layers would have nothing left"
    return Fault(f"{prefix}input.size", problem, f"{least} or more a side")


def _enough(model: SizedModel) -> int:
    return POSITIONS * max(architecture(model.name).strides)


def _named(model: SizedModel) -> str:
    return f"{model.name} (stride {model.output_stride}, head {model.head})"


def _smallest(input: InputConfig) -> Size:
    """The smallest input: a square one if images keep their aspect."""
    return (input.size, input.size) if isinstance(input.size, int) else input.size


def _shown(size: Size) -> str:
    return str(size[0]) if size[0] == size[1] else f"[{size[0]}, {size[1]}]"
