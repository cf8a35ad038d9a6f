"""A trained model that predicts batches of images, and follows its alias in the registry."""

from __future__ import annotations

__all__ = ["BatchItem", "OpenedModel", "ServedModel"]

import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from attn.errors import AttnError, WeightsError
from attn.prediction import ImagePredictConfig, ImagePrediction, Predictor, open_predictor
from attn.prediction.predictor import SizedImage
from attn.registry import fetch_model
from attn.registry.lookup import ModelPlaces, is_registered_name, open_model
from attn.registry.registered import parse_reference
from attn.scratch import scratch_folder
from attn.tracking.address import registry_uri

WARM_SIDE = 256


@dataclass(frozen=True, eq=False)
class OpenedModel:
    """A model that is ready for images.

    Attributes:
        version: In the registry; None of a folder.
        opened: Seconds since 1970.
    """

    name: str
    version: int | None
    predictor: Predictor
    opened: float

    @property
    def reference(self) -> str:
        """`NAME/VERSION`, or the name alone."""
        return self.name if self.version is None else f"{self.name}/{self.version}"

    def short(self) -> dict[str, Any]:
        """What each answer says of the model."""
        return {"name": self.name, "version": self.version, "sha256": self.predictor.sha256}


class BatchItem(NamedTuple):
    """An image, and the model that was current when it came; this model predicts it."""

    model: OpenedModel
    image: SizedImage


class ServedModel:
    """The current model.

    Attributes:
        current: Replaced as a whole when the alias has moved: requests that have begun keep the model they had.
        problem: Why the alias could not be followed at the last look; None: it was.
    """

    def __init__(self, name: str, places: ModelPlaces, config: ImagePredictConfig, *, batch_size: int) -> None:
        """Open the model.

        Raises:
            AttnError: There is no such model, it is damaged, or the registry does not answer.
        """
        self._name, self._places, self._config, self._batch_size = name, places, config, batch_size
        self._reference = parse_reference(name) if is_registered_name(name) else None
        self.problem: str | None = None
        self.current = self._open(self._version())

    @property
    def follows(self) -> bool:
        """Whether the name has an alias, which may move."""
        return self._reference is not None and self._reference.alias is not None

    def describe(self) -> dict[str, Any]:
        """Name, version, classes and more as JSON values."""
        current = self.current
        return {
            **current.short(),
            "alias": None if self._reference is None else self._reference.alias,
            "task": current.predictor.task,
            "classes": list(current.predictor.classes),
            "maps": current.predictor.maps,
            "opened": current.opened,
            "problem": self.problem,
        }

    def predict(self, items: Sequence[BatchItem]) -> list[ImagePrediction | Exception]:
        """Predict images, each by its model; an error of one image is its result."""
        results: dict[int, ImagePrediction | Exception] = {}
        for model in dict.fromkeys(item.model for item in items):
            positions = [number for number, item in enumerate(items) if item.model is model]
            of_model = _predict(model.predictor, [items[number].image for number in positions])
            results.update(zip(positions, of_model, strict=True))
        return [results[position] for position in range(len(items))]

    def look(self) -> bool:
        """Look where the alias is; open and warm its model if that is another one, and only then make it current.

        A model that cannot be opened, and a registry that does not answer, are recorded in `problem`, and the current
        model stays.

        Returns:
            Whether the model changed.
        """
        try:
            version = self._version()
            changed = version != self.current.version
            if changed:
                self.current = self._open(version)
            self.problem = None
            return changed
        except AttnError as error:
            self.problem = str(error)
        except Exception as error:  # a client library's own; the watch must go on
            self.problem = f"{type(error).__name__}: {error}"
            traceback.print_exc()
        return False

    def _version(self) -> int | None:
        if self._reference is None or self._reference.version is not None:
            return None if self._reference is None else self._reference.version
        from attn.registry.mlflow_registry import Registry

        uri = registry_uri(self._places.tracking, self._places.root)
        registry, alias = Registry(uri), self._reference.alias
        version = registry.version_of_alias(self._reference.name, alias) if alias else None
        return registry.find(self._name).version if version is None else version

    def _open(self, version: int | None) -> OpenedModel:
        name = self._name if self._reference is None else self._reference.name
        if self._reference is None:
            with open_model(self._name, self._places, self._load) as predictor:
                pass
        else:
            with scratch_folder() as scratch:
                reference, places = f"{name}/{version}", self._places
                predictor = self._load(fetch_model(places.tracking, places.root, reference, scratch), places.root)
        self._warm(predictor)
        opened = OpenedModel(name, version, predictor, time.time())
        print(f"opened {opened.reference}, {predictor.sha256[:12]}", file=sys.stderr, flush=True)
        return opened

    def _load(self, folder: Any, root: str) -> Predictor:
        return open_predictor(folder, self._config, root)

    def _warm(self, predictor: Predictor) -> None:
        """Let libraries allocate and choose their algorithms before the first request."""
        image = np.zeros((WARM_SIDE, WARM_SIDE, 3), np.uint8)
        for count in dict.fromkeys((1, self._batch_size)):
            for result in _predict(predictor, [(image, None)] * count):
                if isinstance(result, Exception):
                    raise WeightsError(f"{self._name} fails on an image: {type(result).__name__}: {result}") from result


def _predict(predictor: Predictor, images: Sequence[SizedImage]) -> list[ImagePrediction | Exception]:
    """Predictions; if a batch fails, each image is predicted alone."""
    try:
        return list(predictor.batch(images))
    except Exception as error:
        if len(images) == 1:
            return [error]
        return [result for image in images for result in _predict(predictor, [image])]
