"""A step that the device may still be computing, and whose results the host reads a step later."""

from __future__ import annotations

__all__ = ["PendingStep"]

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from attn.data.sample import Batch
from attn.methods.base import StepMaps, StepOutput
from attn.models.host_copy import HostCopy
from attn.training.accumulation import Accumulator
from attn.training.pace import Pace


@dataclass
class _Part:
    """One micro-batch."""

    batch: Batch
    names: tuple[str, ...]
    maps: tuple[HostCopy, HostCopy] | None


@dataclass
class PendingStep:
    """One optimiser step, from its forward pass until its losses are reported.

    Attributes:
        epoch, step: Counted from 0.
        lr: `optimizer.lr` by the schedule.
        rate, waiting: Images per second and share of the time spent waiting for data, of this worker; see `end`.
    """

    epoch: int
    step: int
    lr: float
    rate: float = 0.0
    waiting: float = 0.0
    _parts: list[_Part] = field(default_factory=list)
    _losses: list[Tensor] = field(default_factory=list)
    _copy: HostCopy | None = None

    def add(self, batch: Batch, output: StepOutput) -> Tensor:
        """Add a micro-batch.

        Returns:
            bool scalar on the device: whether a loss is not finite.
        """
        losses = torch.stack([value.detach().double() for value in output.losses.values()])
        maps = None if output.maps is None else (HostCopy(output.maps.maps), HostCopy(output.maps.logits))
        self._parts.append(_Part(batch.host_part(), tuple(output.losses), maps))
        self._losses.append(losses)
        return ~losses.isfinite().all()

    def end(self, blocked: Tensor, pace: Pace) -> None:
        """Begin to copy what the host reads.

        Args:
            blocked: bool scalar: whether the update was left out.
            pace: Of the epoch up to this step.
        """
        self.rate, self.waiting = pace.speed()
        self._copy = HostCopy(torch.cat([*self._losses, blocked.double()[None]]))
        self._losses.clear()

    def read(self) -> tuple[list[dict[str, float]], bool]:
        """The losses of each micro-batch, and whether the update was left out."""
        assert self._copy is not None, "end() comes first"
        values = iter(self._copy.read().tolist())
        losses = [{name: next(values) for name in part.names} for part in self._parts]
        return losses, bool(next(values))

    def accumulate(self, accumulator: Accumulator) -> None:
        """Add the maps that the method returned.

        Raises:
            MapError: A map is not finite.
        """
        for part in self._parts:
            if part.maps is not None:
                maps, logits = part.maps
                accumulator.add(part.batch, StepMaps(maps.read(), logits.read()), self.epoch)

    def skipped(self) -> list[str]:
        """Ids of unreadable images that others replaced."""
        streams = (stream for part in self._parts for stream in (part.batch, part.batch.source_batch) if stream)
        return [name for stream in streams for name in stream.skipped]

    def describe_fault(self, losses: list[dict[str, float]]) -> str | None:
        """A message about the first micro-batch with a loss that is not finite, if there is one."""
        for part, values in zip(self._parts, losses, strict=True):
            bad = [f"{name} = {value}" for name, value in values.items() if not math.isfinite(value)]
            if bad:
                source = part.batch.source_batch
                ids = part.batch.image_ids + (source.image_ids if source else ())
                if wrong := _wrongly_labelled(part.batch):
                    return (
                        f"the labels of {', '.join(wrong[:8])}{', ...' if len(wrong) > 8 else ''} are not zeros and "
                        f"ones, at epoch {self.epoch + 1}, step {self.step + 1}; the update was not made. Mend the "
                        "data's source"
                    )
                return (
                    f"{', '.join(bad)} at epoch {self.epoch + 1}, step {self.step + 1}, images {', '.join(ids[:8])}"
                    f"{', ...' if len(ids) > 8 else ''}; the update was not made. "
                    "Lower optimizer.lr, or set training.clip_norm"
                )
        return None


def _wrongly_labelled(batch: Batch) -> list[str]:
    wrong_B = ((batch.labels != 0) & (batch.labels != 1)).any(dim=1)
    return [name for name, wrong in zip(batch.image_ids, wrong_B.tolist(), strict=True) if wrong]
