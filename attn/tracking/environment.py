"""Describes the environment of a run: versions, hardware, threads, commit."""

from __future__ import annotations

__all__ = ["Changes", "environment", "git_changes", "git_commit", "frozen_requirements", "requirements"]

import os
import platform
import re
import subprocess
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import torch

import attn

UNCOMMITTED = "+changes"
"""Follows a commit's hash where tracked files differ from it."""
UNTRACKED = 200
GIT_SECONDS = 120
"""Timeout of git, which may take seconds on a busy machine. Without an answer, no commit is recorded."""
HEADERS = re.compile(r"^(Name|Version):[ \t]*(\S+)", re.MULTILINE)
PACKAGES = ("torch", "torchvision", "ray", "mlflow", "numpy", "pyarrow", "boto3", "pydensecrf2", "scikit-learn")


def environment() -> dict[str, Any]:
    """Versions and hardware as plain values, without user, host or paths."""
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "attn": attn.__version__,
        "commit": git_commit(),
        "python": platform.python_version(),
        "packages": {name: installed()[name] for name in PACKAGES if name in installed()},
        "system": f"{platform.system()} {platform.release()}",
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpus": gpus,
        "cuda": torch.version.cuda if gpus else None,
    }


def requirements() -> list[str]:
    """Pinned requirements for loading a logged model, without local version suffixes."""
    versions = installed()
    return [f"{name}=={versions[name].partition('+')[0]}" for name in ("torch", "torchvision") if name in versions]


def frozen_requirements() -> list[str]:
    """All installed packages except attn, as sorted `name==version`."""
    return [f"{name}=={version}" for name, version in sorted(installed().items()) if name != "attn"]


@cache
def installed() -> dict[str, str]:
    """Versions by the lower-case names of packages, as they were at the first call: a run begins with each of them.

    Only the two lines are read: `importlib.metadata` would parse every package's whole description, for a fifth of a
    second in each run.
    """
    results: dict[str, str] = {}
    for one in distributions():
        text = one.read_text("METADATA") or one.read_text("PKG-INFO") or ""
        lines = dict(HEADERS.findall(text.partition("\n\n")[0]))
        if lines.keys() == {"Name", "Version"}:
            results.setdefault(lines["Name"].lower().replace("_", "-"), lines["Version"])
    return results


@dataclass(frozen=True)
class Changes:
    """Differences between the source tree and its commit.

    Attributes:
        patch: Changes of tracked files for `git apply`; empty if there are none.
        untracked: Names of untracked Python and YAML files.
    """

    patch: str = ""
    untracked: list[str] = field(default_factory=list)


def git_changes() -> Changes:
    """Uncommitted changes of the source tree that this package runs from; empty outside of a git checkout."""
    root = Path(attn.__file__).parent.parent
    if not (root / ".git").exists():
        return Changes()
    patch = _git(root, "diff", "HEAD", "--binary", "--no-color", "--no-ext-diff") or ""
    names = (_git(root, "ls-files", "--others", "--exclude-standard") or "").splitlines()
    sources = [name for name in names if name.endswith((".py", ".yaml"))]
    return Changes(f"{patch}\n" if patch else "", sources[:UNTRACKED])


def git_commit() -> str | None:
    """The commit of the source tree that this package runs from, with `+changes` if tracked files differ from it."""
    root = Path(attn.__file__).parent.parent
    if not (root / ".git").exists():
        return None
    commit = _git(root, "rev-parse", "HEAD")
    return f"{commit}{UNCOMMITTED}" if commit and _git(root, "status", "--porcelain", "-uno") else commit


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
