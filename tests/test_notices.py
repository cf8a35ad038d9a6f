"""An old spelling works, and one line on standard error names the new one."""

from __future__ import annotations

import io
import sys
import tracemalloc

import pytest

from attn.notices import print_once, renamed


@pytest.fixture(autouse=True)
def _nothing_said() -> None:
    print_once.cache_clear()


def test_a_pair_is_named_once(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(3):
        renamed("base: NAME", "recipe: NAME")
    renamed("val/mAP", "val/mean_ap")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "note: `base: NAME` is now `recipe: NAME`; version 0.3 will drop the old spelling",
        "note: `val/mAP` is now `val/mean_ap`; version 0.3 will drop the old spelling",
    ]


@pytest.mark.parametrize(
    ("old", "shown"),
    [
        ("--to https://user:hunter2@host/x", "--to https://***@host/x"),
        ("a\nb\x1b[2J", "a b\\x1b[2J"),
        ("a" * 5000, "a" * 300 + " ..."),
    ],
)
def test_a_users_text_in_it_is_one_line_without_secrets(
    old: str, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    renamed(old, "new")
    assert capsys.readouterr().err == f"note: `{shown}` is now `new`; version 0.3 will drop the old spelling\n"


def test_no_standard_error_is_no_fault(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    closed = io.StringIO()
    closed.close()
    for stream in (None, closed):
        print_once.cache_clear()
        monkeypatch.setattr(sys, "stderr", stream)
        renamed("old", "new")
    assert capsys.readouterr().out == ""


def test_little_is_kept_of_what_clients_send() -> None:
    for number in range(1000):
        renamed(f"base: {number} " + "a" * 10_000, "new")
    assert print_once.cache_info().currsize <= 256
    tracemalloc.start()
    try:
        for number in range(1000):
            renamed(f"base: other {number} " + "a" * 100_000, "new")
        assert tracemalloc.get_traced_memory()[0] < 2**20, "a hundred megabytes were given"
    finally:
        tracemalloc.stop()
