"""Commands that only read say so where it takes long."""

from __future__ import annotations

import threading

import pytest

from attn.errors import RunError
from attn.progress.streams import Lines
from tests.services.cli.conftest import Attn

REGISTRY = ("jobs.registry.open_registry", "reading the registry ...")


@pytest.mark.parametrize(
    ("typed", "slow", "line"),
    [
        ("models ls", *REGISTRY),
        ("models show a", *REGISTRY),
        ("models get a", *REGISTRY),
        ("models promote a/1 champion", *REGISTRY),
        ("ls", "services.cli.listing._runs", "reading the runs ..."),
        ("show a", "jobs.show.run", "reading the run ..."),
    ],
)
def test_a_command_that_reads_for_long_says_so(
    typed: str, slow: str, line: str, attn: Attn, monkeypatch: pytest.MonkeyPatch
) -> None:
    said, told = list[str](), threading.Event()

    def say(self: Lines, text: str) -> None:
        said.append(text)
        told.set()

    def read(*_: object, **__: object) -> None:
        told.wait(20)
        raise RunError("enough")

    monkeypatch.setattr("attn.progress.view.READING_SECONDS", 0.05)
    monkeypatch.setattr(Lines, "say", say)
    monkeypatch.setattr(slow, read)
    assert attn(*typed.split()).status == 1
    assert said[:1] == [line]
