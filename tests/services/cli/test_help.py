"""What `--help` prints."""

from __future__ import annotations

import pytest

from attn.runs.table import KINDS
from tests.services.cli.conftest import Attn


def test_lists_of_commands_cut_no_sentence(attn: Attn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for group in ([], ["models"], ["data"], ["store"], ["segment"], ["sweep"], ["recipes"]):
        lines = attn(*group, "--help").out.splitlines()
        assert "..." not in "".join(line for line in lines if "ARGS" not in line)
        assert max(map(len, lines)) <= 80
    whole = " ".join(attn("--help").out.split())
    assert "of any kind, here; a job of the root's service, or of --service, there. pipeline " in whole


@pytest.mark.parametrize("kind", KINDS)
def test_the_command_of_a_kind_says_what_the_table_says(attn: Attn, kind: str) -> None:
    command = (KINDS[kind].command or {"segment": "segment train", "sweep": "sweep run"}.get(kind, kind)).split()
    assert KINDS[kind].summary in " ".join(attn(*command, "--help").out.split())
