"""Configuration of MLflow tracking."""

from __future__ import annotations

__all__ = ["TrackingConfig", "default_tracking", "fault_of_alias", "fault_of_name", "fault_of_uri"]

import re
from collections.abc import Mapping
from typing import Any, Self, cast
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from attn.config.base import Config
from attn.tracking.login import ENVIRONMENT, environment_uri
from attn.tracking.sqlite import names_no_file, sqlite_file, sqlite_uri

ALIAS = re.compile(r"(?!(?i:latest|v[0-9]+)$)[A-Za-z0-9_-]+")
"""Aliases that MLflow accepts; it reserves `latest` and names such as `v3`."""
NAME = re.compile(r"[^/:@.'\"][^/:@'\"]*")
SCHEMES = ("sqlite", "http", "https", "postgresql", "mysql", "mssql")


class TrackingConfig(Config):
    """MLflow tracking.

    Attributes:
        enabled: Record the run in MLflow.
        uri: URI of an MLflow server or a database. Default: MLFLOW_TRACKING_URI from the environment. Null: an SQLite
            file below the run's root. Must not contain a password; set MLFLOW_TRACKING_USERNAME and
            MLFLOW_TRACKING_PASSWORD where the run starts.
        experiment: Name of the MLflow experiment.
        preview_images: Number of images with maps drawn after each epoch, from the validation data or, without it, the
            training data.
        log_every_steps: Record losses every this many optimiser steps, and of the last step of each epoch.
        register_as: Register the trained model as a new version under this name.
        alias: Alias to move to the new version.
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
        """Fill in a missing URI from the environment, so that it is saved in the run's config for all machines."""
        if not isinstance(values, dict) or "uri" in values or (uri := environment_uri()) is None:
            return cast("Any", values)
        if fault := fault_of_uri(uri):
            if values.get("enabled", cls.model_fields["enabled"].default) is False:
                return cast("Any", values)
            raise ValueError(f"the environment variable {ENVIRONMENT} {fault}. Change or unset it, or set tracking.uri")
        return cast("dict[str, Any]", values) | {"uri": uri}

    @field_validator("uri")
    @classmethod
    def _make_absolute(cls, uri: str | None) -> str | None:
        """Make the path of an SQLite file absolute, because workers have another working directory."""
        if uri is None or names_no_file(uri) or (file := sqlite_file(uri)) is None:
            return uri
        _, mark, query = uri.partition("?")
        return sqlite_uri(file) + mark + query

    @model_validator(mode="after")
    def _check(self) -> Self:
        # The message must not contain the URI: messages are logged, and the URI may contain a password.
        if self.uri is not None and (fault := fault_of_uri(self.uri)):
            raise ValueError(f"uri {fault}")
        if self.alias is not None and self.register_as is None:
            raise ValueError("alias needs register_as: only a registered model has aliases")
        # Checked here because MLflow would refuse them only after training.
        if self.alias is not None and (fault := fault_of_alias(self.alias)):
            raise ValueError(fault)
        if self.register_as is not None and (fault := fault_of_name(self.register_as)):
            raise ValueError(f"register_as={self.register_as!r} {fault}")
        return self

    def unused(self) -> Mapping[str, tuple[str, ...]]:
        return {} if self.enabled else {"enabled": ("register_as", "alias")}


def default_tracking(**values: Any) -> TrackingConfig:
    """Default of a config's `tracking` field, validated with the config, so that its errors are the config's."""
    return cast("TrackingConfig", values)  # pydantic validates defaults and converts the dict


def fault_of_uri(uri: str) -> str | None:
    """Return the fault of a tracking URI, without quoting it; None if it is valid."""
    try:
        scheme = urlsplit(uri).scheme.split("+")[0]
    except ValueError:
        return "is not a valid URI: its host, or a bracket in it, cannot be parsed"
    if scheme not in SCHEMES:
        return (
            f"must start with one of {', '.join(f'{name}://' for name in SCHEMES)}; MLflow no longer writes to plain "
            "folders: remove tracking.uri to use an SQLite file below root"
        )
    # An unescaped / ? or # in a password hides the @ from URI parsers, so search the whole text.
    login = r"^[^/]*//[^/]*@" if scheme == "sqlite" else "@"
    if re.search(login + r"|\?.*(?i:pass(?!file)|pwd|token|secret|key)", uri):
        return (
            "must not contain a user or password, because it is saved with the run: set MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD instead (for a database: PGPASSWORD, or run an MLflow server)"
        )
    if not _has_port(uri):
        return "has a port that is not a number from 0 to 65535"
    if names_no_file(uri):
        return "is a database in memory, which is lost at the end: use sqlite:////absolute/path.db"
    return None


def _has_port(uri: str) -> bool:
    """Return whether the port, if there is one, is valid; SQLAlchemy's error for an invalid one is not clear."""
    try:
        _ = urlsplit(uri).port
    except ValueError:
        return False
    return True


def fault_of_name(name: str) -> str | None:
    """Return the fault of a registered model's name, without quoting it; None if it is valid."""
    return None if NAME.fullmatch(name) else "must not contain / : @ or quotation marks, nor start with a dot"


def fault_of_alias(alias: str) -> str | None:
    """Return the fault of an alias; None if it is valid."""
    if ALIAS.fullmatch(alias):
        return None
    return f"alias={alias!r} must consist of letters, digits, _ and -, and must not be latest or v with a number"
