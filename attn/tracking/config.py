"""Where the record of a run is kept."""

from __future__ import annotations

__all__ = ["TrackingConfig"]

import re
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from attn.config.base import Config

SCHEMES = ("sqlite", "http", "https", "postgresql", "mysql", "mssql")


class TrackingConfig(Config):
    """MLflow tracking.

    Attributes:
        uri: Address of an MLflow server, or of a database; without one, an SQLite file under the run's root. Never with
            a password: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD where the run starts.
        preview_images: How many images of the validation data have their maps drawn each epoch.
        log_every_steps: Losses of every so many optimiser steps are recorded.
        register_as: Name in the model registry under which the trained model becomes a new version.
        alias: Alias that is moved to this version once it is registered.
    """

    enabled: bool = True
    uri: str | None = None
    experiment: str = Field(default="attn", min_length=1, max_length=500)
    preview_images: int = Field(default=8, ge=0, le=100)
    log_every_steps: int = Field(default=20, ge=1)
    register_as: str | None = Field(default=None, min_length=1)
    alias: str | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        # Checked on the whole and worded without the URI: messages end up in logs, and it may hold a password.
        if self.uri is not None:
            scheme = urlsplit(self.uri).scheme.split("+")[0]
            if scheme not in SCHEMES:
                raise ValueError(
                    f"uri must start with one of {', '.join(f'{name}://' for name in SCHEMES)}; MLflow no longer "
                    "writes to plain folders: leave uri out for an SQLite file under root"
                )
            if re.search(r"^[^/]*//[^/]*@|\?.*(?i:password|token|secret|key)", self.uri):
                raise ValueError(
                    "uri must not hold a user or password, since it is saved with the run: set "
                    "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD instead (for a database: PGPASSWORD, or "
                    "run an MLflow server)"
                )
        if self.alias is not None and self.register_as is None:
            raise ValueError("alias needs register_as: only a registered model has aliases")
        return self
