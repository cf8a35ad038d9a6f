"""The processes that read for the pages: what they may read, and what becomes of a page when one dies."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from attn.errors import AttnError, RunError
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
