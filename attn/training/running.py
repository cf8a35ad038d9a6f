"""The sums of an epoch so far."""

from __future__ import annotations

__all__ = ["Running"]

from dataclasses import dataclass, field


@dataclass
class Running:
    """An epoch's sums so far; plain values, which a checkpoint within the epoch keeps.

    Attributes:
        counts: Steps that had each loss: a step may lack some.
        count: Steps. Checkpoints of versions without `counts` have this alone.
    """

    sums: dict[str, float] = field(default_factory=dict)
    count: int = 0
    skipped: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.counts = dict.fromkeys(self.sums, self.count) | self.counts

    def add(self, values: dict[str, float]) -> None:
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
            self.counts[name] = self.counts.get(name, 0) + 1
        self.count += 1

    def means(self) -> dict[str, float]:
        return {name: total / self.counts[name] for name, total in self.sums.items()}
