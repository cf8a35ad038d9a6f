"""From the bytes of an image to an answer: decoding, the network and encoding, in threads of their own."""

from __future__ import annotations

__all__ = ["BusyError", "Engine", "LostError", "Pipeline", "RefusedError"]

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from attn.data.decode import decode_photograph
from attn.errors import AttnError, DataError
from attn.files.locations import FileFault
from attn.prediction import ImagePrediction
from services.prediction_service.answer import Wanted, answer_of
from services.prediction_service.served_model import BatchItem, ServedModel

FIELD = "predict.max_pixels"


class RefusedError(AttnError):
    """An image, or a request, that cannot be answered as it is."""

    code = "refused"


class BusyError(AttnError):
    """More requests wait than may."""

    code = "busy"


class LostError(AttnError):
    """The processes that were to predict an image ended."""

    code = "lost"


class Engine(Protocol):
    """What predicts the images of requests."""

    async def predict(self, image: bytes, wanted: Wanted) -> dict[str, Any]:
        """Predict an image.

        Returns:
            `model`: name, version and hash of the weights; `image`: what `answer_of` gives. Or `refused`: what is wrong
            with the image.

        Raises:
            BusyError: Too many wait.
        """
        ...

    async def describe(self) -> dict[str, Any]:
        """What `ServedModel.describe` gives."""
        ...


class Pipeline:
    """Predicts images by a model in this process.

    Args:
        run: Predicts one image, perhaps together with others.
    """

    def __init__(
        self, served: ServedModel, max_pixels: int, run: Callable[[BatchItem], Awaitable[ImagePrediction | Exception]]
    ) -> None:
        self._served, self._max_pixels, self._run = served, max_pixels, run

    async def predict(self, image: bytes, wanted: Wanted) -> dict[str, Any]:
        """As `Engine.predict`. Images wait here while those being decoded have many pixels in total."""
        model = self._served.current
        try:
            photograph = await asyncio.to_thread(
                decode_photograph, image, "the image", self._max_pixels, FIELD, min_side=model.predictor.min_side
            )
        except FileFault as fault:
            return {"refused": fault.problem}
        result = await self._run(BatchItem(model, (photograph.pixels, photograph.size)))
        if isinstance(result, DataError):
            return {"refused": str(result)}
        if isinstance(result, Exception):
            raise result
        return {"model": model.short(), "image": await asyncio.to_thread(answer_of, result, wanted)}

    async def describe(self) -> dict[str, Any]:
        """As `Engine.describe`."""
        return self._served.describe()
