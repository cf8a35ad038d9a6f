"""Base classes of all configs: typed, frozen and strict."""

from __future__ import annotations

__all__ = ["BelowRoot", "Config", "FieldError", "Location", "Variant", "is_remote", "local_path"]

import os
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar
from urllib.parse import unquote

from pydantic import AfterValidator, BaseModel, ConfigDict, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from attn.errors import Fault
from attn.redaction import has_login


class FieldError(ValueError):
    """What a config's validator raises where a hint belongs to the message.

    Attributes:
        hint: How to fix it.
    """

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class Config(BaseModel):
    """Base class of a component's config. Unknown fields, wrong types and NaN are refused; instances are immutable."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, defer_build=True, validate_default=True
    )

    def missing_files(self, prefix: str = "") -> Iterator[Fault]:
        """Files that a run reads because of this config, and that this machine lacks or that are no such file; those in
        S3 are not asked for.

        A config that names files adds its own to those of its sections.

        Args:
            prefix: Of the fields in the faults.
        """
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, Config):
                yield from value.missing_files(f"{prefix}{name}.")

    def unused(self) -> Mapping[str, tuple[str, ...]]:
        """Fields that have no effect, by the field with a value that makes them so; see `attn.config.unused`.

        Names may be dotted, and name a whole section.
        """
        return {}

    def lacking(self) -> tuple[str, str] | None:
        """What this machine lacks to do what the config says, as `needs ...`, and a hint; None: nothing.

        Configs of runs are refused with it. What is read of a trained model is not: it may be used without that part.
        """
        return None


class Variant(Config):
    """A family of configs; the value of the `tag` field selects the member.

    Declare the family with `class Family(Variant, tag="name")`, and each member with a field
    `name: Literal["x"] = "x"`. Members register themselves on definition; duplicate names are refused.
    """

    tag: ClassVar[str] = ""
    members: ClassVar[dict[str, type[Any]]] = {}

    def __init_subclass__(cls, tag: str | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)

    @classmethod
    def __pydantic_init_subclass__(cls, *, tag: str | None = None, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if tag is not None:
            cls.tag, cls.members = tag, {}
        elif cls.tag in cls.model_fields:
            name = cls.model_fields[cls.tag].default
            if name in cls.members:
                raise TypeError(f"{cls.tag} {name!r} is already taken by {cls.members[name].__name__}")
            cls.members[name] = cls

    @property
    def variant(self) -> str:
        """The value of the `tag` field."""
        return str(getattr(self, type(self).tag))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        if cls.tag and cls.tag not in cls.model_fields:
            choices = {name: handler.generate_schema(member) for name, member in cls.members.items()}
            return core_schema.tagged_union_schema(choices, discriminator=cls.tag)
        return handler(source)


def is_remote(location: str) -> bool:
    """Return whether a location is an `s3://` URI and not a local path."""
    return location.startswith("s3://")


def local_path(location: str) -> str:
    """The path of a `file://` URI; any other location unchanged."""
    return unquote(location.removeprefix("file://")) if location.startswith("file://") else location


def _expanded(location: str) -> str:
    location = local_path(location)
    if "://" in location and not is_remote(location):
        scheme = location.partition("://")[0]
        raise ValueError(f"must be a local path or an s3://bucket/key URI; {scheme}:// is neither")
    if is_remote(location) and has_login(location):
        raise ValueError("must not contain a user or password, because it is saved with the run: set AWS_ACCESS_KEY_ID "
                         "and AWS_SECRET_ACCESS_KEY instead")  # fmt: skip
    return location if is_remote(location) else os.path.expanduser(location)


def _absolute(location: str) -> str:
    location = _expanded(location)
    return location if is_remote(location) else os.path.abspath(location)


Location = Annotated[str, AfterValidator(_absolute)]
"""A local path, made absolute so that workers resolve it to the same file, or an `s3://bucket/key` URI."""

BelowRoot = Annotated[str, AfterValidator(_expanded)]
"""A path relative to a data set's root, an absolute path, or an `s3://bucket/key` URI."""
