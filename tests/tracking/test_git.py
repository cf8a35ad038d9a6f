"""The git commands of a run write nothing into the checkout, where a user may commit at the same time."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from attn.source_tree import ORIGIN_FILE, git_changes, git_commit, origin_file


def test_git_changes_does_not_write_into_the_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "attn" / "__init__.py"
    source.parent.mkdir()
    source.write_text("")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "x"]):
        subprocess.run([*git, *words], check=True)
    monkeypatch.setattr("attn.source_tree.code_folder", lambda: tmp_path)
    commit = git_commit()
    os.utime(source, (0, 0))  # so that Git would like to note its new time
    index = tmp_path / ".git" / "index"
    before = index.read_bytes()
    assert git_commit() == commit
    assert index.read_bytes() == before
    assert git_changes().patch == ""
    source.write_text("changed = True\n")
    assert git_commit() == f"{commit}+changes"
    assert "changed = True" in git_changes().patch
    # A copy of the tree without its `.git` says the same.
    told, changes = origin_file(), git_changes()
    assert told is not None
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / ORIGIN_FILE).write_bytes(told)
    monkeypatch.setattr("attn.source_tree.code_folder", lambda: tmp_path / "copy")
    assert (git_commit(), git_changes(), origin_file()) == (f"{commit}+changes", changes, told)
