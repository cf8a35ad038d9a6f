"""Only a refused namespace skips a test."""

from __future__ import annotations

import pytest

from tests.namespaces import skip_if_refused


@pytest.mark.parametrize(
    "said",
    [
        "unshare: unshare failed: Operation not permitted\n",
        "mount: /dev/shm: permission denied.\n       dmesg(1) may have more information.",
        "mount --make-shared /run/netns failed: Operation not permitted",
        "RTNETLINK answers: Operation not supported",
        "sh: 2: ip: not found",
    ],
)
def test_a_refusal_skips(said: str) -> None:
    with pytest.raises(pytest.skip.Exception, match="needs the right to make namespaces"):
        skip_if_refused(said)


@pytest.mark.parametrize(
    "said",
    [
        "",
        "mount: /tmp/disk: mount point does not exist.",
        "Traceback (most recent call last):\nPermissionError: [Errno 1] Operation not permitted",
        "RTNETLINK answers: File exists",
        "sh: 1: python: not found",
    ],
)
def test_another_failure_does_not(said: str) -> None:
    skip_if_refused(said)
