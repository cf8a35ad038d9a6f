"""The processes that train together, and what they agree on. Without a process group, a world of one."""

from __future__ import annotations

__all__ = ["World"]

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist


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
        flag = torch.tensor([0.0 if fault is None else 1.0], device=self.device)
        dist.all_reduce(flag, op=dist.ReduceOp.MAX)
        if flag.item() == 0:
            return None
        return next(text for text in self.gather(fault) if text is not None)

    def mean(self, values: dict[str, float]) -> dict[str, float]:
        """The mean over the workers, name by name; every worker gives the same names."""
        if self.size == 1 or not values:
            return values
        names = sorted(values)
        tensor = torch.tensor([values[name] for name in names], dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor)
        return dict(zip(names, (tensor / self.size).tolist(), strict=True))

    def gather(self, value: Any) -> list[Any]:
        """Every worker's value, by rank, on every worker."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values
