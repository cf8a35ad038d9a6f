"""Collects facts about the machine that it runs on, as plain values."""

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
from attn.own_code import code_digest, code_folder, other_code_folder

SHARED_MEMORY = "/dev/shm"


@dataclass(frozen=True)
class Facts:
    """Facts about one machine.

    Attributes:
        code: Digest of the packages `attn`, `jobs` and `services` that run there.
        installed: Digest of those that are installed there, where other ones run; None for none.
        packages: Versions of required packages; None for missing ones.
        unmet: Requirements that are not satisfied.
        clock: Seconds since 1970 on this machine's clock.
        crf: Why the CRF does not work; None if it works.
        cores: Number of cores that this process may use.
        threads: Number of threads that PyTorch uses.
        omp_num_threads: OMP_NUM_THREADS, if set.
        gpus: Names of the GPUs that PyTorch can use.
        gpu_fault: Why PyTorch cannot use the GPUs that there are; None if it can.
        disks: (free, total) bytes by path.
        probe: Content of the file that the first machine wrote below the root, which shows that the root is shared;
            None if it cannot be read, for the reason in `probe_fault`.
    """

    host: str
    attn: str
    code: str
    python: str
    system: str
    packages: dict[str, str | None]
    unmet: tuple[str, ...]
    clock: float
    crf: str | None
    cores: int
    threads: int
    omp_num_threads: str | None
    installed: str | None = None
    gpus: tuple[str, ...] = ()
    gpu_fault: str | None = None
    disks: dict[str, tuple[int, int]] = field(default_factory=dict)
    probe: str | None = None
    probe_fault: str | None = None


def inspect_node(root: str, probe: str | None = None) -> Facts:
    """Collect facts about this machine.

    Args:
        root: Root of the runs.
        probe: Location of the file that the first machine wrote below the root.
    """
    import torch

    packages, unmet = _packages()
    gpus, gpu_fault = _gpus()
    text, fault = _read(probe)
    return Facts(
        host=platform.node(),
        attn=attn.__version__,
        code=code_digest(code_folder()),
        installed=code_digest(installed) if (installed := other_code_folder()) is not None else None,
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        packages=packages,
        unmet=unmet,
        clock=time.time(),
        crf=_crf_fault(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1),
        threads=torch.get_num_threads(),
        omp_num_threads=os.environ.get("OMP_NUM_THREADS"),
        gpus=gpus,
        gpu_fault=gpu_fault,
        disks=_disks(root),
        probe=text,
        probe_fault=fault,
    )


def _packages() -> tuple[dict[str, str | None], tuple[str, ...]]:
    from packaging.requirements import Requirement

    results: dict[str, str | None] = {}
    unmet: list[str] = []
    try:
        wanted = [Requirement(text) for text in requires("attn") or []]
    except PackageNotFoundError:
        wanted = []
    for requirement in wanted:
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            results[requirement.name] = version(requirement.name)
        except PackageNotFoundError:
            results[requirement.name] = None
        have = results[requirement.name]
        if have is None or not requirement.specifier.contains(have, prereleases=True):
            unmet.append(f"{requirement} (there is {have or 'none'})")
    return results, tuple(unmet)


def _gpus() -> tuple[tuple[str, ...], str | None]:
    import torch

    try:  # the driver may count a GPU and be too old for PyTorch's CUDA
        return tuple(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())), None
    except (RuntimeError, AssertionError) as error:
        return (), str(error).strip().splitlines()[0]


def _crf_fault() -> str | None:
    import numpy as np

    from attn.maps.dense_crf import CrfConfig, CrfError, dense_crf

    try:
        probs = dense_crf(np.zeros((4, 4, 3), np.uint8), np.full((2, 4, 4), 0.5), CrfConfig(iterations=1))
    except CrfError as error:
        return str(error)
    except Exception as error:  # a compiled extension may raise anything
        return f"{type(error).__name__}: {error}"
    return None if np.isfinite(probs).all() else "its results are not finite"


def _disks(root: str) -> dict[str, tuple[int, int]]:
    paths = [tempfile.gettempdir(), *([] if is_remote(root) else [root]), SHARED_MEMORY]
    results: dict[str, tuple[int, int]] = {}
    for path in paths:
        there = Path(path).absolute()
        while not there.exists():  # the first run creates the root
            there = there.parent
        if path == SHARED_MEMORY and str(there) != path:
            continue
        usage = shutil.disk_usage(there)
        results[path] = (usage.free, usage.total)
    return results


def _read(probe: str | None) -> tuple[str | None, str | None]:
    if probe is None:
        return None, None
    from attn.files.locations import read_bytes

    try:
        return read_bytes(probe).decode(), None
    except AttnError as error:
        return None, str(error)
