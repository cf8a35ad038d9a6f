"""Refuses input sizes that a network cannot be trained or used on, before data is read or a process is started."""

from __future__ import annotations

__all__ = [
    "HasInputs",
    "SizedModel",
    "check_input",
    "check_inputs",
    "map_scale_faults",
    "smallest_input",
    "training_faults",
]

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Protocol

from torch import nn

from attn.data.transforms import MAX_INPUT_PIXELS, InputConfig, scaled_size
from attn.errors import ConfigError, Fault
from attn.maps.settings import PLAIN, MapSettings
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


def check_input(network: Network, input: InputConfig, maps: MapSettings = PLAIN, *, prefix: str = "maps.") -> None:
    """Refuse an input that a trained network cannot take, and scales of maps that make such inputs.

    Args:
        prefix: Of the fields of `maps` in messages.

    Raises:
        ConfigError: With the least size or scale that would do.
    """
    if fault := _unsuitable("", network.config.name, input):
        raise ConfigError([fault])
    size = smallest_input(input)
    if min(size) < _enough(network.config) and (fault := _too_small("", network.config, network, size)):
        raise ConfigError([fault])
    if maps.other_scales and (faults := _scale_faults(network.config, network, size, maps, prefix)):
        raise ConfigError(faults)


def map_scale_faults(
    model: SizedModel, build: Callable[[], nn.Module], input: InputConfig, maps: MapSettings, prefix: str
) -> list[Fault]:
    """Scales of maps that make inputs that a network cannot take, before it is built."""
    return _scale_faults(model, build(), smallest_input(input), maps, prefix) if maps.other_scales else []


def _scale_faults(model: SizedModel, network: nn.Module, size: Size, maps: MapSettings, prefix: str) -> list[Fault]:
    """Faults of scales that leave nothing to see, or make inputs that no memory holds."""
    stride, enough, only = model.output_stride, _enough(model), architecture(model.name).only
    if only is not None:
        problem = f"{maps.other_scales[0]:g} makes inputs of another size than the only one that {model.name} takes"
        return [Fault(f"{prefix}scales", problem, "leave it out; mirrored inputs are of the same size")]
    largest = math.sqrt(MAX_INPUT_PIXELS / (size[0] * size[1]))

    def takes(scale: float) -> bool:
        scaled = scaled_size(size, scale, stride)
        return min(size) * scale >= stride and (min(scaled) >= enough or fits(network, scaled))

    faults: list[Fault] = []
    for scale in maps.other_scales:
        problem = f"{scale:g} makes inputs of {_shown(scaled_size(size, scale, stride))} from input.size={_shown(size)}"
        if scale > largest:
            hint = f"{math.floor(100 * largest) / 100:g} or less"
            faults.append(Fault(f"{prefix}scales", f"{problem}, which are too large", hint))
        elif not takes(scale):
            least = least_side(lambda percent: takes(percent[0] / 100), 100) / 100
            hint = f"{least:g} or more, or a larger input.size"
            faults.append(Fault(f"{prefix}scales", f"{problem}, which are too small for {_named(model)}", hint))
    return faults


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
    if fault := _unsuitable(prefix, model.name, config.input):
        return [fault]
    size, enough = smallest_input(config.input), _enough(model)
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
    shards = config.cluster.most_workers * config.training.accumulate_steps
    ways = [f"{prefix}training.batch_size={2 * shards} or more"] if by_batch else []
    ways += [f"{prefix}input.size={least} or more", f"{prefix}model.batch_norm=frozen"]
    whole = "a worker's step" if by_batch else "a pass of the method"
    problem = (
        f"{config.training.batch_size} leaves {whole} with one image, of which {_named(model)} keeps one position at "
        f"input.size={_shown(size)}: batch normalisation cannot be trained on one value per channel"
    )
    return [Fault(f"{prefix}training.batch_size", problem, ", or ".join(ways))]


def _unsuitable(prefix: str, name: str, input: InputConfig) -> Fault | None:
    """Sides that a transformer's patches do not fill, or another size than the only one."""
    chosen, size = architecture(name), smallest_input(input)
    only, multiple = chosen.only, chosen.multiple
    if input.resize == "short_side" and (only or multiple > 1):
        allowed = f"{only[0]}x{only[1]} only" if only else f"sides that are multiples of {multiple} only"
        problem = f"short_side gives inputs with sides of any length, and {name} takes {allowed}"
        return Fault(f"{prefix}input.resize", problem, f"{prefix}input.resize=squash")
    if only is not None and size != only:
        return Fault(f"{prefix}input.size", f"{_shown(size)} is not the only size that {name} takes", _shown(only))
    if all(side % multiple == 0 for side in size):
        return None
    near = sorted({max(1, round(side / multiple)) * multiple for side in size})
    problem = f"{_shown(size)} cannot be cut into the patches of {multiple} pixels that {name} takes"
    return Fault(f"{prefix}input.size", problem, f"multiples of {multiple}, such as {' or '.join(map(str, near))}")


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


def smallest_input(input: InputConfig) -> Size:
    """The smallest input: a square one if images keep their aspect."""
    return (input.size, input.size) if isinstance(input.size, int) else input.size


def _shown(size: Size) -> str:
    return str(size[0]) if size[0] == size[1] else f"[{size[0]}, {size[1]}]"
