"""`attn view` as a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
import urllib.error
import urllib.request
from http.cookiejar import CookieJar
from pathlib import Path

import pytest

from attn import store
from tests.services.cli.conftest import Attn
from tests.services.pages.conftest import write_run


def test_it_prints_an_address_that_opens_what_was_named_and_ends_when_interrupted(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "runs", "first")
    maps = store.create(str(folder / "store"), rows=[("a", 0)], grid=(2, 2), classes=["cat"])
    call = [sys.executable, "-c", "from services.cli.main import main; main()", "view"]
    assert b"Maps of" in opened([*call, maps.uri], tmp_path, "/view/maps/store")
    assert b"first" in opened([*call, "first"], tmp_path, "/view/runs/first")


def opened(call: list[str], tmp_path: Path, page: str) -> bytes:
    """The page that the printed address leads to."""
    with subprocess.Popen(
        [*call, "--root", str(tmp_path / "runs")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        try:
            line = next(line for line in process.stderr if line.startswith("open "))  # others tell of progress
            address = line.split()[1]
            assert address.startswith("http://127.0.0.1:")
            assert address.endswith(f"?next={page}")
            opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
            base = address.partition("/enter/")[0]
            with pytest.raises(urllib.error.HTTPError, match="401"):
                opener.open(f"{base}/runs", timeout=60)
            opener.open(address, timeout=60).close()
            with opener.open(base + page, timeout=120) as answer:
                shown = answer.read()
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
    return shown


def test_what_is_neither_a_run_nor_a_store_is_refused(attn: Attn, tmp_path: Path) -> None:
    done = attn("view", "none", "--root", str(tmp_path))
    assert done.status == 1
    assert "no run 'none'" in done.err
