"""The git commands of a run write nothing into the checkout, where a user may commit at the same time."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from attn.source_tree import ORIGIN_FILE, git_changes, git_commit, origin_file


def commit_all(folder: Path) -> None:
    git = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "x"]):
        subprocess.run([*git, *words], check=True)


def test_git_changes_does_not_write_into_the_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "attn" / "__init__.py"
    source.parent.mkdir()
    source.write_text("")
    commit_all(tmp_path)
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


def test_changes_are_those_of_the_packages_files_and_hold_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["attn/old.py", "attn/*.py", "jobs/recipes/a.yaml", "services/secrets.yaml", "deploy/secrets.yaml", ".env"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"# {name}\na = 1\n" * 9)
    commit_all(tmp_path)
    for name in names[1:]:
        (tmp_path / name).write_text(f"# {name}\nURI = 'http://user:hunter2@host'\n")
    for old, new in [("attn/old.py", "attn/new.py"), (".env", "attn/env.py")]:
        (tmp_path / old).rename(tmp_path / new)
    subprocess.run(["git", "-C", str(tmp_path), "add", "."], check=True)
    monkeypatch.setattr("attn.source_tree.code_folder", lambda: tmp_path)
    patch = git_changes().patch
    told = origin_file()
    assert told is not None
    assert b"hunter2" not in told
    subprocess.run(["git", "-C", str(tmp_path), "reset", "-q", "--hard"], check=True)
    subprocess.run(["git", "-C", str(tmp_path), "apply", "-"], input=patch, text=True, check=True)
    assert not (tmp_path / "attn/old.py").exists()
    assert (tmp_path / "attn/new.py").read_text() == "# attn/old.py\na = 1\n" * 9
    for name in ["attn/*.py", "jobs/recipes/a.yaml"]:
        assert (tmp_path / name).read_text() == f"# {name}\nURI = 'http://***@host'\n"
    for name in ["services/secrets.yaml", "deploy/secrets.yaml", ".env"]:
        assert (tmp_path / name).read_text() == f"# {name}\na = 1\n" * 9
