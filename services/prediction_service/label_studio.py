"""The routes of a machine learning backend for Label Studio."""

from __future__ import annotations

__all__ = ["label_studio_routes"]

import asyncio
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from services.prediction_service.answer import Wanted
from services.prediction_service.config import LabelStudioConfig, RequestLimits
from services.prediction_service.engine import Engine, RefusedError
from services.prediction_service.labelling import Interface, read_interface, results_of
from services.prediction_service.limited import predict_all
from services.prediction_service.task_images import TaskImages

MOST_TASKS = 1000


class Setup(BaseModel):
    """Begins the use of a project. Label Studio's address and key, which it also sends, are not used."""

    model_config = ConfigDict(extra="ignore")

    label_config: str = Field(alias="schema", default="")


class Task(BaseModel):
    """A task: its image is in a field of `data`."""

    model_config = ConfigDict(extra="ignore")

    id: int | str | None = None
    data: dict[str, Any]


class Tasks(BaseModel):
    """A request for predictions."""

    model_config = ConfigDict(extra="ignore")

    tasks: list[Task] = Field(max_length=MOST_TASKS)
    label_config: str


def label_studio_routes(engine: Engine, limits: RequestLimits, config: LabelStudioConfig) -> APIRouter:
    """The routes below `/label-studio`; Label Studio is given this as the backend's address."""
    router = APIRouter(prefix="/label-studio")
    images = TaskImages(config, limits.bytes)

    @router.get("/health")
    async def health() -> dict[str, str]:
        """Return that the backend is up."""
        return {"status": "UP", "model_class": "attn"}

    @router.post("/setup")
    async def setup(request: Setup) -> dict[str, Any]:
        """Check the labelling interface, and return the model's version."""
        if request.label_config:
            read_interface(request.label_config)
        return {"model_version": _version(await engine.describe())}

    @router.post("/predict")
    async def predict(request: Tasks) -> dict[str, Any]:
        """Predict the images of tasks: regions or choices, as the labelling interface has them."""
        interface = read_interface(request.label_config)
        locations = [_location(task, interface) for task in request.tasks]
        names = [f"task {task.id}" for task in request.tasks]

        async def answer(location: str, wanted: Wanted) -> dict[str, Any]:
            return await engine.predict(await asyncio.to_thread(images.read, location), wanted)

        answers = await predict_all(answer, locations, interface.wanted, limits, names)
        return {"results": [_prediction(interface, each) for each in answers]}

    return router


def _location(task: Task, interface: Interface) -> str:
    location = task.data.get(interface.field)
    if not isinstance(location, str):
        raise RefusedError(f"task {task.id} has no image in the field {interface.field!r} of its data")
    return location


def _prediction(interface: Interface, answer: dict[str, Any]) -> dict[str, Any]:
    result = results_of(interface, answer["image"])
    score = max((one["score"] for one in result if "score" in one), default=0.0)
    return {"model_version": _version(answer["model"]), "score": score, "result": result}


def _version(model: dict[str, Any]) -> str:
    return model["name"] if model["version"] is None else f"{model['name']}/{model['version']}"
