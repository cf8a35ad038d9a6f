"""Texts without the secrets that URIs hold."""

from __future__ import annotations

__all__ = ["has_login", "without_secrets"]

import re

TEXT = r"[^\s\"']"
WITH_AT = re.compile(rf"(?<!{TEXT})(?={TEXT}*@){TEXT}+")
"""Texts without blanks that hold an @. All patterns here take time in proportion to a text, whatever it is."""
LOGINS = (
    # Of servers and databases: a password may hold / ? and #, though it must not.
    re.compile(r"(?<![\w+])(?=[\w+]*?(?i:https?|postgresql|mysql|mssql))[\w+]+:"),
    # Of any other, S3's with keys too, which often hold a /. A version behind a path, as in s3://bucket/store@3, stays.
    re.compile(r":(?=//[^/@:]*:)"),
)
SECRETS = (
    (re.compile(r"://[^/\s]*@"), "://***@"),
    (
        re.compile(r"([?&](?=[^?&=\s]*?(?i:pass(?!file)|pwd|token|secret|key|signature))[^?&=\s]*=)[^&\s\"']*"),
        r"\1***",
    ),
)


LOGIN = re.compile(r"[a-zA-Z0-9+.-]+://([^/]*@|[^/:]*:.*@)")


def has_login(location: str) -> bool:
    """Whether a URI names a user, or a key with its secret, which may hold a slash, before its bucket or host."""
    return LOGIN.match(location) is not None


def without_secrets(text: str) -> str:
    """A text in which no URI shows its user, its password, or a query's password, token or key."""
    text = WITH_AT.sub(_without_login, text)
    for pattern, shown in SECRETS:
        text = pattern.sub(shown, text)
    return text


def _without_login(match: re.Match[str]) -> str:
    whole = match[0]
    for scheme in LOGINS:
        if (found := scheme.search(whole, 0, whole.rindex("@"))) is not None:
            whole = f"{whole[: found.end()]}//***{whole[whole.rindex('@') :]}"
    return whole
