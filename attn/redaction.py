"""Removes secrets in URIs from texts."""

from __future__ import annotations

__all__ = ["has_login", "without_secrets"]

import re

TEXT = r"[^\s\"']"
WITH_AT = re.compile(rf"(?<!{TEXT})(?={TEXT}*@){TEXT}+")
"""Words that contain an @. All patterns here take linear time on any text."""
LOGINS = (
    # Servers and databases: a password may contain / ? and #, although that is not valid.
    re.compile(r"(?<![\w+])(?=[\w+]*?(?i:https?|postgresql|mysql|mssql))[\w+]+:"),
    # Other URIs: S3 secrets often contain a /. A version after a path, as in s3://bucket/store@3, is kept.
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
    """Return whether a URI has a user, or a key and its secret, before bucket or host. The secret may have a slash."""
    return LOGIN.match(location) is not None


def without_secrets(text: str) -> str:
    """Replace by `***` every URI's user and password, and passwords, tokens and keys in its query."""
    text = WITH_AT.sub(_without_login, text)
    for pattern, shown in SECRETS:
        text = pattern.sub(shown, text)
    return text


def _without_login(match: re.Match[str]) -> str:
    whole = match[0]
    for scheme in LOGINS:
        if (matched := scheme.search(whole, 0, whole.rindex("@"))) is not None:
            whole = f"{whole[: matched.end()]}//***{whole[whole.rindex('@') :]}"
    return whole
