"""Predicts the images of one request: a few at a time, within the request's time."""

from __future__ import annotations

__all__ = ["LateError", "predict_all"]

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from attn.errors import AttnError
from services.prediction_service.answer import Wanted
from services.prediction_service.config import RequestLimits
from services.prediction_service.engine import RefusedError

T = TypeVar("T")
MOST_FAULTS = 20


class LateError(AttnError):
    """A request took longer than it may; its images are not predicted any more."""

    code = "late"


async def predict_all(
    predict: Callable[[T, Wanted], Awaitable[dict[str, Any]]],
    images: Sequence[T],
    wanted: Wanted,
    limits: RequestLimits,
    names: Sequence[str],
) -> list[dict[str, Any]]:
    """The answers for all images, in order.

    Args:
        predict: As `Engine.predict`; an image that it refuses may also raise.
        names: Of the images, for messages.

    Raises:
        RefusedError: Images cannot be used; it names all of them.
        LateError: The answer took longer than `limits.seconds`.
    """
    at_once = asyncio.Semaphore(limits.images)

    async def one(image: T) -> dict[str, Any]:
        async with at_once:
            try:
                return await predict(image, wanted)
            except RefusedError as error:
                return {"refused": str(error)}

    tasks = [asyncio.create_task(one(image)) for image in images]
    try:
        async with asyncio.timeout(limits.seconds):
            answers = await asyncio.gather(*tasks)
    except TimeoutError:
        raise LateError(f"the answer took longer than limits.seconds={limits.seconds:g}: try again later") from None
    finally:
        for task in tasks:
            task.cancel()
    refused = [f"{name}: {each['refused']}" for name, each in zip(names, answers, strict=True) if "refused" in each]
    if refused:
        more = [f"and {len(refused) - MOST_FAULTS} more"] if len(refused) > MOST_FAULTS else []
        raise RefusedError("; ".join([*refused[:MOST_FAULTS], *more]))
    return answers
