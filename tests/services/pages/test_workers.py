"""The processes that read for the pages: what they may read, and what becomes of a page when one dies."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from attn.errors import AttnError, RunError
from services.pages import workers as worker_module
from services.pages.workers import ProcessWorkers


def test_they_read_below_the_roots_alone_and_one_that_dies_is_replaced(tmp_path: Path) -> None:
    for name in ("inside", "outside"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)

    async def ask() -> None:
        workers = ProcessWorkers((str(tmp_path / "inside"),))
        try:
            assert await workers("os:getpid") != os.getpid()
            read = "attn.files.locations:read_bytes"
            assert await workers(read, str(tmp_path / "inside" / "file")) == b"inside"
            with pytest.raises(AttnError):
                await workers(read, str(tmp_path / "outside" / "file"))
            with pytest.raises(RunError, match="ended the process"):
                await workers("os:abort")
            assert await workers("operator:add", 1, 2) == 3
        finally:
            workers.close()

    asyncio.run(ask())


def test_those_that_wait_are_not_late_for_those_before_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve calls in two processes take more than each may, and none is ended for it."""
    monkeypatch.setattr(worker_module, "CALL_SECONDS", 60.0)

    async def ask() -> list[object]:
        workers = ProcessWorkers(())
        try:
            await workers("operator:add", 1, 2)  # both are up from here on
            monkeypatch.setattr(worker_module, "CALL_SECONDS", 3.0)
            return await asyncio.gather(*(workers("time:sleep", 0.6) for _ in range(12)))
        finally:
            workers.close()

    assert asyncio.run(ask()) == [None] * 12
