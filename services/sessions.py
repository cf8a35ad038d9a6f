"""Sessions of browsers: after a log-in a signed cookie stands for the token, and forms carry a second signed text.

A cookie is `EXPIRES.NONCE.SIGNATURE`, signed with the token that logged in. The service keeps no list of sessions: a
cookie is valid until it expires, also after a restart, and for as long as its token is one of the service's.
"""

from __future__ import annotations

__all__ = ["CSRF_FIELD", "CSRF_HEADER", "SECONDS", "Session", "Sessions", "cookie_name"]

import hmac
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.requests import cookie_parser

from services.forms import read_form

SECONDS = 12 * 3600
"""How long a log-in lasts."""
CSRF_FIELD, CSRF_HEADER = "csrf", "x-csrf-token"
COOKIE = re.compile(r"(\d{1,12}\.[0-9a-f]{32})\.([0-9a-f]{64})")


@dataclass(frozen=True)
class Session:
    """A valid log-in.

    Attributes:
        csrf: The text that every form of this session must carry; pages of other sites cannot read it.
    """

    role: str
    csrf: str

    def sent_by_own_page(self, headers: Headers, body: bytes) -> bool:
        """Return whether a request carries this session's `csrf`, in a header or as a field of a form."""
        given = headers.get(CSRF_HEADER)
        if given is None and headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            try:
                given = read_form(body).get(CSRF_FIELD)
            except ValueError:
                return False
        return given is not None and hmac.compare_digest(given.encode(), self.csrf.encode())


class Sessions:
    """Makes and checks the cookies of a service.

    Args:
        tokens: Roles by token.
    """

    def __init__(self, tokens: Mapping[str, str]) -> None:
        self.tokens = tokens

    def role(self, token: str) -> str | None:
        """The role of a token; compares with every token, each in constant time."""
        role = None
        for known, its_role in self.tokens.items():
            if hmac.compare_digest(known.encode(), token.encode()):
                role = its_role
        return role

    def cookie(self, token: str) -> str:
        """The value of a new cookie for a token of the service."""
        signed = f"{int(time.time()) + SECONDS}.{secrets.token_hex(16)}"
        return f"{signed}.{_signature(token, 'session', signed)}"

    def read(self, headers: Headers) -> Session | None:
        """The session of a request's cookie; None without a valid one."""
        # Unlike the standard library's parser, it goes on after a cookie that it cannot read: other services of this
        # host, on other ports, set cookies of their own, which browsers send to all of them.
        match = COOKIE.fullmatch(cookie_parser(headers.get("cookie", "")).get(cookie_name(headers), ""))
        if match is None:
            return None
        signed, signature = match[1], match[2]
        result = None
        for token, role in self.tokens.items():
            if hmac.compare_digest(_signature(token, "session", signed), signature):
                result = Session(role, _signature(token, "form", signed))
        return result if int(signed.partition(".")[0]) > time.time() else None


def cookie_name(headers: Headers) -> str:
    """The cookie's name. It has the port, since browsers send a host's cookies to all of its ports."""
    port = headers.get("host", "").rpartition(":")[2]
    return f"attn-{port if port.isdecimal() else '80'}"


def _signature(token: str, purpose: str, text: str) -> str:
    return hmac.digest(token.encode(), f"attn {purpose} {text}".encode(), "sha256").hex()
