"""The processes that train together, and their collective operations. Without a process group, a world of one."""

from __future__ import annotations

__all__ = ["TrainingStopped", "World"]

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import nn

from attn.errors import AttnError, RunError, StorageAwayError
from attn.memory import out_of_memory

T = TypeVar("T")


class TrainingStopped(RunError):
    """A fault that stops all workers at the same step; a restart would meet it again."""

    code = "stopped"


@dataclass(frozen=True)
class _Fault:
    text: str
    is_away: bool = False


@dataclass(frozen=True)
class World:
    """This process among the `size` that train together."""

    rank: int
    size: int
    device: torch.device

    @classmethod
    def current(cls, device: torch.device | None = None) -> World:
        """The world of the process group that is up, or of this process alone."""
        up = dist.is_available() and dist.is_initialized()
        rank, size = (dist.get_rank(), dist.get_world_size()) if up else (0, 1)
        return cls(rank, size, device or torch.device("cpu"))

    def first_fault(self, fault: str | None) -> str | None:
        """The fault of the lowest rank that has one, on every rank, so that all stop at the same step."""
        if self.size == 1:
            return fault
        if not self.any(fault is not None):
            return None
        return next(text for text in self.gather(fault) if text is not None)

    def any(self, value: bool) -> bool:
        """Return whether the value is true on any worker, on every worker."""
        if self.size == 1:
            return value
        flag = torch.tensor([float(value)], device=self.device)
        dist.all_reduce(flag, op=dist.ReduceOp.MAX)
        return bool(flag.item())

    def all_or_raise(self, work: Callable[[], T]) -> T:
        """Do something on every worker; if one fails with an error that a user can mend, all of them raise it.

        Args:
            work: Must not communicate with other workers: if one failed, they would wait for it.

        Raises:
            TrainingStopped: On all workers, with the fault of the lowest rank that has one.
            StorageAwayError: On all workers, if no worker has another fault: a restart may not meet it again.
        """
        fault: _Fault | None = None
        results: list[T] = []
        try:
            results.append(work())
        except AttnError as error:
            fault = _Fault(str(error), is_away=isinstance(error, StorageAwayError))
        except (MemoryError, RuntimeError) as error:
            if (lacking := out_of_memory(error)) is None:
                raise
            fault = _Fault(str(lacking))
        if not self.any(fault is not None):
            return results[0]
        faults = [one for one in self.gather(fault) if one is not None]
        for one in faults:
            if not one.is_away:
                raise TrainingStopped(one.text)
        raise StorageAwayError(faults[0].text)

    def average_buffers(self, network: nn.Module) -> None:
        """Give all workers the mean of their floating buffers: running statistics, each of its own images."""
        if self.size == 1:
            return
        for buffer in network.buffers():
            if buffer.is_floating_point():
                dist.all_reduce(buffer)
                buffer /= self.size

    def average_gradients(self, module: nn.Module) -> None:
        """Give all workers the mean of their gradients of a module that nothing wraps, in one exchange."""
        if self.size == 1:
            return
        gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        for gradient, mean in zip(gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True):
            gradient.copy_((mean / self.size).view_as(gradient))

    def mean(self, values: dict[str, float]) -> dict[str, float]:
        """The mean over the workers, name by name; every worker gives the same names."""
        if self.size == 1 or not values:
            return values
        names = sorted(values)
        tensor = torch.tensor([values[name] for name in names], dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor)
        return dict(zip(names, (tensor / self.size).tolist(), strict=True))

    def maximum(self, values: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The greatest value at each position over the workers, on every worker."""
        if self.size == 1:
            return values
        tensor = torch.from_numpy(values).to(self.device, copy=True)
        dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
        return tensor.cpu().numpy()

    def gather(self, value: Any) -> list[Any]:
        """Every worker's value, by rank, on every worker."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values
