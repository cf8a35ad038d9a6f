"""The processes that train together, and their collective operations. Without a process group, a world of one."""

from __future__ import annotations

__all__ = ["Exchange", "Fault", "TrainingStopped", "World", "attempt"]

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn

from attn.errors import AttnError, RunError, StorageAwayError
from attn.memory import out_of_memory

T = TypeVar("T")


class TrainingStopped(RunError):
    """A fault that stops all workers at the same step; a restart would meet it again."""

    code = "stopped"


@dataclass(frozen=True)
class Fault:
    """An error that a user can mend, of one worker.

    Attributes:
        is_away: Whether it is of an object store that does not answer; a restart may not meet it again.
    """

    text: str
    is_away: bool = False


def attempt(work: Callable[[], T]) -> T | Fault:
    """The result of `work`, or its fault if it fails with an error that a user can mend."""
    try:
        return work()
    except AttnError as error:
        return Fault(str(error), is_away=isinstance(error, StorageAwayError))
    except (MemoryError, RuntimeError) as error:
        if (lacking := out_of_memory(error)) is None:
            raise
        return Fault(str(lacking))


@dataclass(frozen=True)
class World:
    """This process among the `size` that train together.

    Attributes:
        host_group: Exchanges tensors of the hosts, where the devices have a group of their own.
    """

    rank: int
    size: int
    device: torch.device
    host_group: dist.ProcessGroup | None = None

    @classmethod
    def current(cls, device: torch.device | None = None) -> World:
        """The world of the process group that is up, or of this process alone; all workers call it together."""
        up = dist.is_available() and dist.is_initialized()
        rank, size = (dist.get_rank(), dist.get_world_size()) if up else (0, 1)
        device = device or torch.device("cpu")
        if size == 1 or device.type == "cpu":
            return cls(rank, size, device)
        hosts = dist.new_group(backend="gloo")
        assert isinstance(hosts, dist.ProcessGroup), "every worker is in it"
        return cls(rank, size, device, hosts)

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
        result = attempt(work)
        fault = result if isinstance(result, Fault) else None
        if self.any(fault is not None):
            self.raise_fault(fault)
        assert not isinstance(result, Fault), "a fault has been raised"
        return result

    def raise_fault(self, fault: Fault | None) -> NoReturn:
        """Raise the workers' faults on all of them; all call it, and at least one has a fault.

        Raises:
            TrainingStopped: The fault of the lowest rank that has one.
            StorageAwayError: No worker has another fault.
        """
        faults: list[Fault] = [one for one in self.gather(fault) if one is not None]
        for one in faults:
            if not one.is_away:
                raise TrainingStopped(one.text)
        raise StorageAwayError(faults[0].text)

    def exchange(self, flags: Sequence[bool], bad: Tensor) -> Exchange:
        """Begin to combine flags of all workers; the exchange runs while the host and the device work on.

        Args:
            flags: What the host knows.
            bad: bool scalar of the device.
        """
        return Exchange(self, flags, bad)

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


class Exchange:
    """Flags that are true on any worker, on every worker: those of the hosts, and one of the devices.

    One all-reduce carries all of them if one group exchanges the tensors of both. Else those of the hosts go by a group
    of their own, so that no host waits for a device.
    """

    def __init__(self, world: World, flags: Sequence[bool], bad: Tensor) -> None:
        self._flags, self._bad, self._work = list(flags), bad, list[Any]()
        if world.size == 1:
            return
        self._count = len(flags)
        own = torch.tensor(flags, dtype=torch.float32)
        if world.host_group is None:
            self._host = self._device = torch.cat([own, bad.float()[None]])
        else:
            self._host, self._device = own, bad.float()[None]
            self._work.append(self._start(self._device, None))
        self._work.append(self._start(self._host, world.host_group))

    def flags(self) -> list[bool]:
        """The hosts' flags; waits for the other hosts."""
        if self._work:
            self._work[-1].wait()
            return [value > 0 for value in self._host[: self._count].tolist()]
        return self._flags

    def bad(self) -> Tensor:
        """The devices' flag, a bool scalar of the device; a GPU waits for the other GPUs, the host does not."""
        if self._work:
            self._work[0].wait()
            return self._device[-1] > 0
        return self._bad

    @staticmethod
    def _start(values: Tensor, group: dist.ProcessGroup | None) -> Any:
        return dist.all_reduce(values, op=dist.ReduceOp.MAX, group=group, async_op=True)
