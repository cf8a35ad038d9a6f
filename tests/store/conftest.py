"""What tests of the map store share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from attn.store.protocol import failpoints


@pytest.fixture(autouse=True)
def no_handler() -> Iterator[None]:
    """A handler that a test installs ends with it."""
    yield
    failpoints.install(None)
