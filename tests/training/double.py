"""Training in float64, for tests that compare one process with several.

Several workers add the same numbers in another order, and so does another processor's kernel for another size of
batch. A float32 sum of n numbers is right to n·6e-8 of their magnitudes, and what follows may enlarge that without
bound: Adam's first step divides a gradient by its own size, a map is rounded to one of 256 values. In float64 the same
is 1e-16, so that what has not come from rounding stands out by many orders of magnitude.
"""

from __future__ import annotations

__all__ = ["DoubleTrainer"]

from collections.abc import Iterator
from dataclasses import fields, replace

from torch import Tensor

from attn.data.sample import Batch
from attn.runs.table import build_components
from attn.training.accumulation import Accumulator
from attn.training.run_config import RunConfig
from attn.training.trainer import Trainer
from attn.training.world import World


class DoubleTrainer(Trainer):
    """A trainer of double networks, on the same images and from the same weights."""

    def __init__(self, config: RunConfig, world: World, accumulator: Accumulator | None = None) -> None:
        components = build_components(config, rank=world.rank, world=world.size)
        components.network.double()
        if components.auxiliary is not None:
            components.auxiliary.module.double()
        super().__init__(config, world, components, accumulator)

    def _batches(self, epoch: int) -> Iterator[Batch]:
        return map(_double, super()._batches(epoch))


def _double(batch: Batch) -> Batch:
    values = {field.name: getattr(batch, field.name) for field in fields(batch)}
    doubled = {k: v.double() for k, v in values.items() if isinstance(v, Tensor) and v.is_floating_point()}
    return replace(batch, **doubled, source_batch=None if batch.source_batch is None else _double(batch.source_batch))
