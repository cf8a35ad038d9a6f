"""Texts without the secrets that URIs hold."""

from __future__ import annotations

__all__ = ["has_login", "without_secrets"]

import re

SECRETS = (
    # Of servers and databases: a password may hold / ? and #, though it must not.
    (re.compile(r"((?i:https?|postgresql|mysql|mssql)[\w+]*:)/*[^\s\"']*@"), r"\1//***@"),
    # Of any other, S3's with keys too, which often hold a /. A version behind a path, as in s3://bucket/store@3, stays.
    (re.compile(r"://[^/\s\"'@:]*:[^\s\"']*@"), "://***@"),
    (re.compile(r"://[^/\s]*@"), "://***@"),
    (re.compile(r"([?&][^?&=\s]*(?i:pass(?!file)|pwd|token|secret|key|signature)[^?&=\s]*=)[^&\s\"']*"), r"\1***"),
)


LOGIN = re.compile(r"[a-zA-Z0-9+.-]+://([^/]*@|[^/:]*:.*@)")


def has_login(location: str) -> bool:
    """Whether a URI names a user, or a key with its secret, which may hold a slash, before its bucket or host."""
    return LOGIN.match(location) is not None


def without_secrets(text: str) -> str:
    """A text in which no URI shows its user, its password, or a query's password, token or key."""
    for pattern, shown in SECRETS:
        text = pattern.sub(shown, text)
    return text
