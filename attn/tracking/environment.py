"""What a run ran on: versions, processors, threads, commit."""

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

UNTRACKED = 200
GIT_SECONDS = 120
"""How long git may take: seconds on a busy machine, and a commit that it does not tell in time is not recorded."""
PACKAGES = ("torch", "torchvision", "ray", "mlflow", "numpy", "pyarrow", "boto3", "pydensecrf2", "scikit-learn")


def environment() -> dict[str, Any]:
    """Versions and hardware as plain values; no user, host or path."""
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "attn": attn.__version__,
        "commit": git_commit(),
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "system": f"{platform.system()} {platform.release()}",
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpus": gpus,
        "cuda": torch.version.cuda if gpus else None,
    }


def requirements() -> list[str]:
    """What a logged model needs to be loaded, pinned to the versions that wrote it (without local suffixes)."""
    return [f"{name}=={found.partition('+')[0]}" for name in ("torch", "torchvision") if (found := _version(name))]


def frozen_requirements() -> list[str]:
    """Every installed package as `name==version`, this one left out, in alphabetical order."""
    found = {(one.metadata["Name"] or "").lower().replace("_", "-"): one.version for one in distributions()}
    return [f"{name}=={found[name]}" for name in sorted(found) if name not in ("", "attn")]


@dataclass(frozen=True)
class Changes:
    """How the source tree differs from its commit.

    Attributes:
        patch: Of the files that git knows, as `git apply` takes it; empty where there are none.
        untracked: Names of Python and YAML files that git does not know.
    """

    patch: str = ""
    untracked: list[str] = field(default_factory=list)


def git_changes() -> Changes:
    """What is not in the commit of the source tree that this package is run from; nothing where it is in none."""
    root = Path(attn.__file__).parent.parent
    if not (root / ".git").exists():
        return Changes()
    patch = _git(root, "diff", "HEAD", "--binary", "--no-color", "--no-ext-diff") or ""
    names = (_git(root, "ls-files", "--others", "--exclude-standard") or "").splitlines()
    sources = [name for name in names if name.endswith((".py", ".yaml"))]
    return Changes(f"{patch}\n" if patch else "", sources[:UNTRACKED])


def git_commit() -> str | None:
    """The commit of the source tree that this package is run from, with `+changes` where files differ from it."""
    root = Path(attn.__file__).parent.parent
    if not (root / ".git").exists():
        return None
    commit = _git(root, "rev-parse", "HEAD")
    return f"{commit}+changes" if commit and _git(root, "status", "--porcelain", "-uno") else commit


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
