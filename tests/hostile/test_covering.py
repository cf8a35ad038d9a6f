"""To cover secrets takes time in proportion to a text, whatever clients and jobs write: the service does it itself."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator

import pytest

from attn.redaction import without_secrets
from services.output_redaction import redact

SECONDS = 10.0
"""Where a text takes the square of its length, these take minutes."""
TEXTS = {
    "keys": "://a:" * 60_000,
    "keys, and a login at the end": "://a:" * 60_000 + "@",
    "schemes": "http" * 75_000,
    "schemes, and a login at the end": "http" * 75_000 + "@",
    "schemes with colons": "http:" * 60_000,
    "names in a query": "?" + "key" * 100_000,
    "names in a path": "&" + "pass" * 75_000,
    "logins": "a:b@" * 75_000,
    "authorizations": "authorization: bearer " * 15_000,
}


@pytest.fixture(autouse=True)
def in_time() -> Iterator[None]:
    def late(number: int, frame: object) -> None:
        raise TimeoutError(f"more than {SECONDS:g} s of a processor")

    before = signal.signal(signal.SIGVTALRM, late)
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
    yield
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    signal.signal(signal.SIGVTALRM, before)


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize(
    "cover", [lambda text: redact(text.encode()), without_secrets], ids=["redact", "without_secrets"]
)
def test_time_is_in_proportion(cover: Callable[[str], object], name: str) -> None:
    cover(TEXTS[name])


@pytest.mark.parametrize(
    "text",
    [
        "s3://AKIA:hid/den@bucket",
        "://a:://b:hid/den@bucket",
        "x=http://who:hidden@h/?next=http://h/?token=hidden",
        "?a=b&my-key=hidden",
        "see s3://bucket/store@3, then s3://AKIA:hidden@bucket",
    ],
)
def test_what_is_secret_is_covered(text: str) -> None:
    for covered in (redact(text.encode()).decode(), without_secrets(text)):
        assert "hid" not in covered, covered
        assert "den" not in covered.replace("hidden", ""), covered
