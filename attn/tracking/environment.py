"""Describes the environment of a run: versions, hardware, threads, commit."""

from __future__ import annotations

__all__ = ["Changes", "environment", "git_changes", "git_commit", "frozen_requirements", "requirements"]

import os
import platform
import subprocess
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path
from typing import Any

import torch

import attn

UNCOMMITTED = "+changes"
"""Follows a commit's hash where tracked files differ from it."""
UNTRACKED = 200
GIT_SECONDS = 120
"""Timeout of git, which may take seconds on a busy machine. Without an answer, no commit is recorded."""
PACKAGES = ("torch", "torchvision", "ray", "mlflow", "numpy", "pyarrow", "boto3", "pydensecrf2", "scikit-learn")


def environment() -> dict[str, Any]:
    """Versions and hardware as plain values, without user, host or paths."""
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "attn": attn.__version__,
        "commit": git_commit(),
        "python": platform.python_version(),
        "packages": {name: result for name in PACKAGES if (result := _version(name))},
        "system": f"{platform.system()} {platform.release()}",
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpus": gpus,
        "cuda": torch.version.cuda if gpus else None,
    }


def requirements() -> list[str]:
    """Pinned requirements for loading a logged model, without local version suffixes."""
    return [f"{name}=={result.partition('+')[0]}" for name in ("torch", "torchvision") if (result := _version(name))]


def frozen_requirements() -> list[str]:
    """All installed packages except attn, as sorted `name==version`."""
    results = {(one.metadata["Name"] or "").lower().replace("_", "-"): one.version for one in distributions()}
    return [f"{name}=={results[name]}" for name in sorted(results) if name not in ("", "attn")]


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


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
