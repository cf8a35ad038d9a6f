"""Ranks the images of a class by how well their maps fit, a few at a time: a page shows what is known already."""

from __future__ import annotations

__all__ = ["Ranking", "Rankings"]

import asyncio
import logging
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Literal

from attn.errors import AttnError
from services.pages.map_view import THRESHOLDS, Collection, Ranked
from services.pages.workers import Call

log = logging.getLogger(__name__)

AT_ONCE = 24
AGAIN_SECONDS = 10.0
KEPT = 64
RANK = "services.pages.read_maps:rank"
Key = tuple[Collection, int, int]


@dataclass
class Ranking:
    """The images of one class and version that have been ranked so far.

    Attributes:
        whole: How many images the class has.
        error: Why it ended before all were ranked; `again` is when it may be tried again, by the monotonic clock.
    """

    whole: int
    images: list[Ranked] = field(default_factory=list[Ranked])
    error: str = ""
    again: float = 0.0
    task: asyncio.Task[None] | None = None

    @property
    def by_mask(self) -> Literal["all", "some", "none"]:
        """Of how many images the scores are of masks."""
        scored = [one.by_mask for one in self.images if one.scores is not None]
        return "none" if not any(scored) else "all" if all(scored) else "some"

    @property
    def is_complete(self) -> bool:
        return bool(self.error) or len(self.images) >= self.whole

    def ordered(self, threshold: float, *, worst_first: bool) -> list[tuple[str, float | None]]:
        """The images with their scores at the threshold that is nearest; those without a score come last."""
        at = min(range(len(THRESHOLDS)), key=lambda place: abs(THRESHOLDS[place] - threshold))
        scored = [(one.image_id, one.scores[at]) for one in self.images if one.scores is not None]
        scored.sort(key=lambda one: one[1], reverse=not worst_first)
        return [*scored, *((one.image_id, None) for one in self.images if one.scores is None)]


class Rankings:
    """The rankings that pages have asked for; those that are asked for are continued, one part at a time."""

    def __init__(self, call: Call) -> None:
        self._call, self._turn = call, asyncio.Semaphore(1)
        self._known: OrderedDict[Key, Ranking] = OrderedDict()

    def get(self, collection: Collection, version: int, class_index: int, whole: int) -> Ranking:
        """A ranking as far as it is; begins it if it is new. Call it in the event loop."""
        key = collection, version, class_index
        ranking = self._known.setdefault(key, Ranking(whole))
        self._known.move_to_end(key)
        ended = ranking.task is not None and ranking.task.done()
        if ranking.task is None or (ended and len(ranking.images) < whole and time.monotonic() > ranking.again):
            ranking.whole, ranking.error = whole, ""
            ranking.task = asyncio.create_task(self._continue(key, ranking))
        while len(self._known) > KEPT:
            task = self._known.popitem(last=False)[1].task
            if task is not None:
                task.cancel()
        return ranking

    async def _continue(self, key: Key, ranking: Ranking) -> None:
        while not ranking.is_complete:
            async with self._turn:
                try:
                    ranking.images += await self._call(RANK, *key, len(ranking.images), AT_ONCE)
                except Exception as error:  # a damaged picture may raise anything
                    if not isinstance(error, AttnError):
                        log.exception("images of a class cannot be ranked")
                    ranking.error = (
                        str(error) if isinstance(error, AttnError) else f"{type(error).__name__}: see the log"
                    )
                    ranking.again = time.monotonic() + AGAIN_SECONDS
