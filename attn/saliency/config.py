"""The configuration of saliency that the data does not give."""

from __future__ import annotations

__all__ = ["SaliencyKind", "SaliencySettings"]

from collections.abc import Iterator
from typing import Literal, Self

from pydantic import Field, model_validator

from attn.config.base import Config, Location
from attn.errors import Fault, WeightsError
from attn.files.nearest import missing_path

SaliencyKind = Literal["given", "u2netp", "border", "none"]
"""Where saliency is from: the data, U²-NetP, `border_saliency`, or nowhere."""


class SaliencySettings(Config):
    """The network that `saliency=u2netp` runs.

    Attributes:
        saliency_model: ONNX file of U²-NetP; by default that of an installed package that ships it.
        saliency_sha256: SHA-256 of `saliency_model` if it is another network than the released U²-NetP: one RGB image,
            normalised like ImageNet's, in; its saliency in [0, 1] out.
        saliency_threshold: Where saliency chooses a threshold of maps: saliency above this value is object.
    """

    saliency_model: Location | None = None
    saliency_sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")

    saliency_threshold: float = Field(default=0.5, ge=0, lt=1)

    def missing_files(self, prefix: str = "") -> Iterator[Fault]:
        from attn.saliency.u2netp import find_file  # imports Pillow

        yield from super().missing_files(prefix)
        if getattr(self, "saliency", None) != "u2netp":
            return
        field = f"{prefix}saliency_model"
        yield from missing_path(field, self.saliency_model)
        if self.saliency_model is None:
            try:
                find_file(field)
            except WeightsError as error:
                yield Fault(f"{prefix}saliency", str(error))

    @model_validator(mode="after")
    def _check_model(self) -> Self:
        kind = getattr(self, "saliency", "u2netp")
        for name in ("saliency_model", "saliency_sha256"):
            if kind != "u2netp" and getattr(self, name) is not None:
                raise ValueError(f"{name} is for saliency=u2netp, and saliency is {kind}: leave it out")
        if self.saliency_sha256 is not None and self.saliency_model is None:
            raise ValueError("saliency_sha256 is the hash of saliency_model, which is missing: give both")
        return self
