"""Describes the environment of a run: versions, hardware, threads, commit."""

from __future__ import annotations

__all__ = ["environment", "frozen_requirements", "requirements"]

import os
import platform
import re
from functools import cache
from importlib.metadata import distributions
from typing import Any

import torch

import attn
from attn.source_tree import git_commit

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
