"""Reads forms that browsers send. They are URL-encoded: no form of ours sends a file."""

from __future__ import annotations

__all__ = ["form_of", "read_form"]

from urllib.parse import parse_qsl

from fastapi import HTTPException, Request

MAX_FIELDS = 2000


def read_form(body: bytes) -> dict[str, str]:
    """The fields of a form by name; of two with one name the last.

    Raises:
        ValueError: It is no form, or has too many fields.
    """
    return dict(parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=MAX_FIELDS))


async def form_of(request: Request) -> dict[str, str]:
    """As `read_form`, for a request.

    Raises:
        HTTPException: 422 if it is no form.
    """
    try:
        return read_form(await request.body())
    except ValueError:
        raise HTTPException(422, f"the body is not a form of at most {MAX_FIELDS} fields") from None
