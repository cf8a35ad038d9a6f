"""The facts of one machine, measured where it runs: plain values that travel."""

from __future__ import annotations

__all__ = ["Facts", "inspect_node"]

import os
import platform
import shutil
import tempfile
import time
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import attn
from attn.config.base import is_remote
from attn.errors import AttnError

SHARED_MEMORY = "/dev/shm"


@dataclass(frozen=True)
class Facts:
    """What one machine says of itself.

    Attributes:
        packages: Versions of what this library needs; None for one that is missing.
        unmet: Requirements that the versions do not meet.
        clock: Seconds since 1970, as this machine takes it to be.
        crf: Why the CRF does not work; None where it does.
        cores: That this process may use.
        threads: That PyTorch would use; `asked` of them by OMP_NUM_THREADS.
        disks: (free, total) bytes by path.
        probe: What stands in the file that the driver has put under the root; None where it cannot be read, with the
            reason in `probe_fault`.
    """

    host: str
    attn: str
    python: str
    system: str
    packages: dict[str, str | None]
    unmet: tuple[str, ...]
    clock: float
    crf: str | None
    cores: int
    threads: int
    asked: str | None
    gpus: tuple[str, ...] = ()
    disks: dict[str, tuple[int, int]] = field(default_factory=dict)
    probe: str | None = None
    probe_fault: str | None = None


def inspect_node(root: str, probe: str | None = None) -> Facts:
    """Look at this machine.

    Args:
        root: Of the runs.
        probe: Location of a file below it to be read.
    """
    import torch

    packages, unmet = _packages()
    text, fault = _read(probe)
    return Facts(
        host=platform.node(),
        attn=attn.__version__,
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        packages=packages,
        unmet=unmet,
        clock=time.time(),
        crf=_crf_fault(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1),
        threads=torch.get_num_threads(),
        asked=os.environ.get("OMP_NUM_THREADS"),
        gpus=tuple(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())),
        disks=_disks(root),
        probe=text,
        probe_fault=fault,
    )


def _packages() -> tuple[dict[str, str | None], tuple[str, ...]]:
    from packaging.requirements import Requirement

    found: dict[str, str | None] = {}
    unmet: list[str] = []
    try:
        wanted = [Requirement(text) for text in requires("attn") or []]
    except PackageNotFoundError:
        wanted = []
    for requirement in wanted:
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            found[requirement.name] = version(requirement.name)
        except PackageNotFoundError:
            found[requirement.name] = None
        have = found[requirement.name]
        if have is None or not requirement.specifier.contains(have, prereleases=True):
            unmet.append(f"{requirement} (there is {have or 'none'})")
    return found, tuple(unmet)


def _crf_fault() -> str | None:
    import numpy as np

    from attn.evaluation.crf import CrfConfig, dense_crf

    try:
        probs = dense_crf(np.zeros((4, 4, 3), np.uint8), np.full((2, 4, 4), 0.5), CrfConfig(iterations=1))
    except Exception as error:  # a compiled extension fails in many ways
        return f"{type(error).__name__}: {error}"
    return None if np.isfinite(probs).all() else "it gives numbers that are not finite"


def _disks(root: str) -> dict[str, tuple[int, int]]:
    places = [tempfile.gettempdir(), *([] if is_remote(root) else [root]), SHARED_MEMORY]
    found: dict[str, tuple[int, int]] = {}
    for place in places:
        there = Path(place).absolute()
        while not there.exists():  # the root is made by the first run
            there = there.parent
        if place == SHARED_MEMORY and str(there) != place:
            continue
        usage = shutil.disk_usage(there)
        found[place] = (usage.free, usage.total)
    return found


def _read(probe: str | None) -> tuple[str | None, str | None]:
    if probe is None:
        return None, None
    from attn.files.locations import read_bytes

    try:
        return read_bytes(probe).decode(), None
    except AttnError as error:
        return None, str(error)
