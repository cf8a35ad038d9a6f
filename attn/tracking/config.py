"""Where the record of a run is kept."""

from __future__ import annotations

__all__ = ["TrackingConfig", "fault_of_alias", "fault_of_uri", "untold"]

import re
from typing import Any, Self, cast
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from attn.config.base import Config
from attn.tracking.login import ENVIRONMENT, environment_uri
from attn.tracking.sqlite import names_no_file, sqlite_file, sqlite_uri

ALIAS = re.compile(r"(?!(?i:latest|v[0-9]+)$)[A-Za-z0-9_-]+")
"""As MLflow takes them: `latest` and `v3` are its own words."""
NAME = re.compile(r"[^/:@.'\"][^/:@'\"]*")
SCHEMES = ("sqlite", "http", "https", "postgresql", "mysql", "mssql")


class TrackingConfig(Config):
    """MLflow tracking.

    Attributes:
        enabled: Whether the run is recorded in MLflow.
        uri: Address of an MLflow server, or of a database; where it is not given, MLFLOW_TRACKING_URI's. Null: an
            SQLite file under the run's root. Never with a password: set MLFLOW_TRACKING_USERNAME and
            MLFLOW_TRACKING_PASSWORD where the run starts.
        experiment: Name of MLflow's experiment.
        preview_images: How many images have their maps drawn each epoch: of the validation data, or of the training
            data without any.
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

    @model_validator(mode="before")
    @classmethod
    def _take_from_environment(cls, values: Any) -> Any:
        """Fill in what is not given, so that the run's own config says where it is recorded, on every machine."""
        if not isinstance(values, dict) or "uri" in values or (uri := environment_uri()) is None:
            return cast("Any", values)
        if fault := fault_of_uri(uri):
            if values.get("enabled", cls.model_fields["enabled"].default) is False:
                return cast("Any", values)
            raise ValueError(f"{ENVIRONMENT} of the environment {fault}. Change or unset it, or give tracking.uri")
        return cast("dict[str, Any]", values) | {"uri": uri}

    @field_validator("uri")
    @classmethod
    def _make_absolute(cls, uri: str | None) -> str | None:
        """Of an SQLite file, which must be the same one on a worker, whose working directory is another."""
        if uri is None or names_no_file(uri) or (file := sqlite_file(uri)) is None:
            return uri
        _, mark, query = uri.partition("?")
        return sqlite_uri(file) + mark + query

    @model_validator(mode="after")
    def _check(self) -> Self:
        # Checked on the whole and worded without the URI: messages end up in logs, and it may hold a password.
        if self.uri is not None and (fault := fault_of_uri(self.uri)):
            raise ValueError(f"uri {fault}")
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


def untold(**values: Any) -> TrackingConfig:
    """The default of a config's field: made when that config is, whose fault it then is if the environment is wrong."""
    return cast("TrackingConfig", values)  # pydantic makes it one, as it checks defaults


def fault_of_uri(uri: str) -> str | None:
    """What is wrong with a tracking URI, in words without it."""
    try:
        scheme = urlsplit(uri).scheme.split("+")[0]
    except ValueError:
        return "is no address: its host, or a bracket in it, cannot be read"
    if scheme not in SCHEMES:
        return (
            f"must start with one of {', '.join(f'{name}://' for name in SCHEMES)}; MLflow no longer writes to plain "
            "folders: leave tracking.uri out for an SQLite file under root"
        )
    # An unescaped / ? or # in a password hides the @ from any parser of URIs, so it is looked for everywhere.
    login = r"^[^/]*//[^/]*@" if scheme == "sqlite" else "@"
    if re.search(login + r"|\?.*(?i:pass(?!file)|pwd|token|secret|key)", uri):
        return (
            "must not hold a user or password, since it is saved with the run: set MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD instead (for a database: PGPASSWORD, or run an MLflow server)"
        )
    if not _has_port(uri):
        return "has a port that is not a number from 0 to 65535"
    if names_no_file(uri):
        return "names no file, and what is kept in memory is lost: write sqlite:////absolute/path.db"
    return None


def _has_port(uri: str) -> bool:
    """Whether the port, where there is one, can be one: SQLAlchemy fails at any other without saying so."""
    try:
        _ = urlsplit(uri).port
    except ValueError:
        return False
    return True


def fault_of_alias(alias: str) -> str | None:
    """What is wrong with an alias, if anything."""
    if ALIAS.fullmatch(alias):
        return None
    return f"alias={alias!r} must be of letters, digits, _ and -, and neither latest nor v with a number"
