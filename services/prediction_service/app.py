"""The HTTP interface of the prediction service."""

from __future__ import annotations

__all__ = ["create_app"]

from collections.abc import Mapping
from typing import Annotated

from fastapi import FastAPI, Query, Request

from attn import __version__
from attn.annotations import Shapes
from attn.annotations.export import check_format
from services.access import Guard, TokenDigests
from services.hosts import AllowedHosts
from services.models import Health
from services.prediction_service.answer import Wanted
from services.prediction_service.config import LabelStudioConfig, RequestLimits
from services.prediction_service.engine import Engine
from services.prediction_service.label_studio import label_studio_routes
from services.prediction_service.limited import predict_all
from services.prediction_service.models import ImageAnswers, Mask, ServedModelDetail
from services.prediction_service.uploads import images_of
from services.problems import add_problem_handlers

OPEN = ("/health", "/label-studio/health")
"""Paths that need no token."""


def create_app(
    engine: Engine,
    limits: RequestLimits,
    label_studio: LabelStudioConfig,
    *,
    digests: Mapping[str, str],
    any_host: bool = False,
) -> FastAPI:
    """Create the application.

    Args:
        digests: Roles by the SHA-256 of the token, as `digests_of`; every role may ask. Empty: no token is needed.
        any_host: Accept any `Host` header; see `services.api.create_app`.
    """
    app = FastAPI(title="attn", version=__version__, docs_url=None, redoc_url=None, redirect_slashes=False)
    logins = TokenDigests(digests)
    app.add_middleware(Guard, sessions=logins, writes="read", open_paths=OPEN, max_body=limits.bytes, basic=True)
    if not any_host:
        app.add_middleware(AllowedHosts)
    add_problem_handlers(app)

    @app.get("/health")
    async def health() -> Health:
        """Return whether the service answers."""
        return Health(status="ok", version=__version__)

    @app.get("/model")
    async def model() -> ServedModelDetail:
        """The model, as one replica has it: just after its alias has moved, another may still have the model before."""
        return ServedModelDetail.model_validate(await engine.describe())

    @app.post("/predict")
    async def predict(
        request: Request,
        mask: Annotated[
            Mask, Query(description="The mask as a PNG, as run-length codes by class, or not at all.")
        ] = "png",
        maps: Annotated[bool, Query(description="Also the maps of all labels, as PNGs.")] = False,
        form: Annotated[str | None, Query(alias="format", description="Also in an annotation tool's format.")] = None,
        polygons: Annotated[bool, Query(description="The format's regions as polygons.")] = False,
    ) -> ImageAnswers:
        """Predict the image in the body, or the images of multipart/form-data."""
        if form is not None:
            check_format(form, Shapes(polygons=polygons))
        images = images_of(request.headers.get("content-type", ""), await request.body(), limits.images)
        names = ["the image"] if len(images) == 1 else [f"image {number}" for number in range(1, len(images) + 1)]
        wanted = Wanted(mask, maps, form, polygons)
        answers = await predict_all(engine.predict, images, wanted, limits, names)
        return ImageAnswers.model_validate({"images": [{"model": each["model"], **each["image"]} for each in answers]})

    app.include_router(label_studio_routes(engine, limits, label_studio))
    return app
