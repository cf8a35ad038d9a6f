"""The commit of the source tree that this package runs from, and its changes, which a copy of the tree tells too."""

from __future__ import annotations

__all__ = ["ORIGIN_FILE", "UNCOMMITTED", "Changes", "git_changes", "git_commit", "origin_file"]

import json
import subprocess
from dataclasses import asdict, dataclass, field
from pathlib import Path

from attn.own_code import code_folder, is_code
from attn.redaction import without_secrets

UNCOMMITTED = "+changes"
"""Follows a commit's hash where tracked files differ from it."""
UNTRACKED = 200
GIT_SECONDS = 120
"""Timeout of git, which may take seconds on a busy machine. Without an answer, no commit is recorded."""
ORIGIN_FILE = "attn-origin.json"
"""Beside the packages of a copy: the commit and the changes of the tree that it was made of."""


@dataclass(frozen=True)
class Changes:
    """Differences between the source tree and its commit.

    Attributes:
        patch: Changes of the packages' tracked files for `git apply`, without logins in URIs; empty if there are none.
        untracked: Names of untracked Python and YAML files.
    """

    patch: str = ""
    untracked: list[str] = field(default_factory=list)


def git_changes() -> Changes:
    """Uncommitted changes of the source tree that this package runs from; empty outside of a git checkout."""
    root = code_folder()
    if (root / ORIGIN_FILE).exists():
        return Changes(**json.loads((root / ORIGIN_FILE).read_bytes())["changes"])
    if not (root / ".git").exists():
        return Changes()
    # Nothing of other files: a checkout may have passwords in its deployment's.
    listed = _git(root, "diff", "HEAD", "--name-only", "--no-renames", "-z") or ""
    changed = [name for name in listed.split("\0") if name and is_code(name)]
    difference = ("--literal-pathspecs", "diff", "HEAD", "--binary", "--no-color", "--no-ext-diff", "--", *changed)
    patch = without_secrets(_git(root, *difference) or "") if changed else ""
    names = (_git(root, "ls-files", "--others", "--exclude-standard") or "").splitlines()
    sources = [name for name in names if name.endswith((".py", ".yaml"))]
    return Changes(f"{patch}\n" if patch else "", sources[:UNTRACKED])


def git_commit() -> str | None:
    """The commit of the source tree that this package runs from, with `+changes` if tracked files differ from it."""
    root = code_folder()
    if (root / ORIGIN_FILE).exists():
        return json.loads((root / ORIGIN_FILE).read_bytes())["commit"]
    if not (root / ".git").exists():
        return None
    commit = _git(root, "rev-parse", "HEAD")
    return f"{commit}{UNCOMMITTED}" if commit and _git(root, "status", "--porcelain", "-uno") else commit


def origin_file() -> bytes | None:
    """What `ORIGIN_FILE` of a copy of this source tree has to hold; None outside of a git checkout."""
    commit = git_commit()
    return None if commit is None else json.dumps({"commit": commit, "changes": asdict(git_changes())}).encode()


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(root), *arguments],
            capture_output=True,
            text=True,
            timeout=GIT_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
