"""Where the record of a run is kept."""

from __future__ import annotations

__all__ = ["TrackingConfig", "fault_of_alias"]

import re
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from attn.config.base import Config

ALIAS = re.compile(r"(?!(?i:latest|v[0-9]+)$)[A-Za-z0-9_-]+")
"""As MLflow takes them: `latest` and `v3` are its own words."""
NAME = re.compile(r"[^/:@.'\"][^/:@'\"]*")
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
        # Both are first used when training is over: MLflow's own refusal would come too late.
        if self.alias is not None and (fault := fault_of_alias(self.alias)):
            raise ValueError(fault)
        if self.register_as is not None and not NAME.fullmatch(self.register_as):
            raise ValueError(
                f"register_as={self.register_as!r} must hold no / : @ or quotation mark, nor begin with a dot"
            )
        return self


def fault_of_alias(alias: str) -> str | None:
    """What is wrong with an alias, if anything."""
    if ALIAS.fullmatch(alias):
        return None
    return f"alias={alias!r} must be of letters, digits, _ and -, and neither latest nor v with a number"
