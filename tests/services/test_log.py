"""The log of a job: where one attempt ends and the next begins."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from services.log import mark_attempt, read_log

LINE = rb"---- attempt 1 has ended; attempt 2 begins, \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\n"


@pytest.mark.parametrize("written", [b"step 1\nstep 2\n", b"step 1\nstep"])
def test_a_later_attempt_begins_with_a_line(tmp_path: Path, written: bytes) -> None:
    log = tmp_path / "a.log"
    log.write_bytes(written)
    mark_attempt(log, 2)
    with log.open("ab") as stream:
        stream.write(b"step 3\n")
    text = read_log(log, 0, ended=True)[0]
    assert re.fullmatch(re.escape(written.rstrip(b"\n")) + b"\n" + LINE + b"step 3\n", text), text


@pytest.mark.parametrize(("written", "attempt"), [(None, 2), (b"", 2), (b"step 1\n", 1)])
def test_a_first_attempt_has_no_such_line(tmp_path: Path, written: bytes | None, attempt: int) -> None:
    log = tmp_path / "a.log"
    if written is not None:
        log.write_bytes(written)
    mark_attempt(log, attempt)
    assert (log.read_bytes() if log.exists() else None) == written
