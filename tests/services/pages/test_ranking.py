"""A ranking that has failed is begun again, and says what has failed meanwhile."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from attn.errors import RunError
from services.pages import ranking
from services.pages.map_view import THRESHOLDS, Collection, Ranked
from services.pages.ranking import Rankings


@pytest.mark.parametrize(
    ("fault", "said"),
    [(RunError("away for a second"), "away for a second"), (ValueError("cut"), "ValueError: see the log")],
)
def test_a_fault_is_told_and_the_images_are_ranked_later(
    monkeypatch: pytest.MonkeyPatch, fault: Exception, said: str
) -> None:
    monkeypatch.setattr(ranking, "AGAIN_SECONDS", 0.0)
    faults: list[Exception] = [fault]
    images = [Ranked(f"{number}", (0.5,) * len(THRESHOLDS), by_mask=True) for number in range(2)]

    async def call(name: str, *arguments: Any) -> list[Ranked]:
        if faults:
            raise faults.pop()
        return images

    async def look() -> None:
        known = Rankings(call)
        one = known.get(Collection("store"), 1, 0, 2)
        assert one.task is not None
        await one.task
        assert (one.error, one.images, one.is_complete) == (said, [], True)
        again = known.get(Collection("store"), 1, 0, 2)
        assert again.task is not None
        await again.task
        assert (again.error, again.images) == ("", images)

    asyncio.run(look())
