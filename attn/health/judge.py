"""Judges the facts about machines."""

from __future__ import annotations

__all__ = ["judge", "judge_clock", "judge_code", "judge_equal", "judge_probe"]

from collections.abc import Mapping

from attn.health.finding import Finding
from attn.health.node import SHARED_MEMORY, Facts
from attn.maps.dense_crf import AFTER_LAST_PYTHON
from attn.wording import counted

GIB = 2**30
DISK_WARN_BYTES, DISK_FAIL_BYTES = 10 * GIB, GIB
SKEW_WARN, SKEW_FAIL = 2.0, 60.0
"""Seconds. Amazon S3 refuses requests with clocks off by 15 minutes; file times, leases and logs need better ones."""


def judge(facts: Facts, offered: int | None = None) -> list[Finding]:
    """Judge the facts about one machine.

    Args:
        offered: GPUs that Ray gives to runs there; None for a machine that is no node of a cluster.
    """
    return [_packages(facts), _crf(facts), *_disks(facts), _threads(facts), _gpus(facts, offered)]


def judge_equal(nodes: Mapping[str, Facts]) -> Finding:
    """Check that all machines have the same versions, because they exchange pickled objects."""
    check, seen = "versions", dict[str, dict[str, list[str]]]()
    for name, facts in nodes.items():
        versions = {"python": facts.python, **facts.packages}
        for package, version in versions.items():
            seen.setdefault(package, {}).setdefault(version or "missing", []).append(name)
    differing = {package: item for package, item in seen.items() if len(item) > 1}
    if not differing:
        return Finding(check, "ok", f"the same on all {len(nodes)} machines")
    parts = [
        f"{package} " + ", but ".join(f"{version} on {', '.join(names[:4])}" for version, names in item.items())
        for package, item in differing.items()
    ]
    return Finding(check, "fail", "; ".join(parts), "run every node from one image, or install requirements.txt on all")


def judge_code(here: Facts, nodes: Mapping[str, Facts]) -> Finding:
    """Check by content that the nodes run this machine's code, and compare what is installed on them with it.

    Args:
        nodes: Facts by the names of the nodes.
    """
    check = "code"
    other = [f"{name} ({_short(facts.code)})" for name, facts in nodes.items() if facts.code != here.code]
    if other:
        text = f"this machine runs attn {here.attn} ({_short(here.code)}), but other code runs on {', '.join(other)}"
        return Finding(check, "fail", text, "submit the command without a working_dir and py_modules of its own")
    installed = [
        f"{name} has {'none' if facts.installed is None else f'other code ({_short(facts.installed)})'}"
        for name, facts in nodes.items()
        if facts.installed != here.code
    ]
    text = f"runs send this machine's attn {here.attn} ({_short(here.code)}), and every node runs it"
    there = ", ".join(installed) or "the same on every node"
    return Finding(check, "ok", f"{text}; installed: {there}")


def _short(digest: str) -> str:
    return digest[:12]


def judge_clock(name: str, skew: float, uncertainty: float = 0.0) -> Finding:
    """Compare a clock with this machine's.

    Args:
        skew: Seconds by which it is ahead.
        uncertainty: Uncertainty of the skew, in seconds.
    """
    certain = max(0.0, abs(skew) - uncertainty)
    status = "fail" if certain > SKEW_FAIL else "warn" if certain > SKEW_WARN else "ok"
    direction = "ahead" if skew > 0 else "behind"
    text = "right" if status == "ok" else f"{certain:.0f} s {direction}"
    return Finding(f"clock of {name}", status, text, "" if status == "ok" else "let chrony or ntpd set the clocks")


def judge_probe(facts: Facts, expected: str, root: str) -> Finding:
    """Check that a machine sees the driver's file below the root."""
    if facts.probe == expected:
        return Finding("root", "ok", f"{root} is shared")
    why = facts.probe_fault or "the file differs"
    fix = "use --root s3://..., or a folder that all nodes mount; for S3, give every node its credentials or a role"
    return Finding("root", "fail", f"{root} is not the driver's: {why}", fix)


def _packages(facts: Facts) -> Finding:
    if facts.unmet:
        return Finding("packages", "fail", "; ".join(facts.unmet), "pip install -r requirements.txt")
    if not facts.packages:
        return Finding("packages", "warn", "attn is not installed as a package", "pip install --no-deps -e .")
    return Finding("packages", "ok", f"attn {facts.attn}, Python {facts.python}, {len(facts.packages)} packages")


def _crf(facts: Facts) -> Finding:
    if facts.crf is None:
        return Finding("crf", "ok", "pydensecrf works")
    if tuple(map(int, facts.python.split(".")[:2])) >= AFTER_LAST_PYTHON:
        return Finding("crf", "warn", facts.crf, "nothing, unless you want CRFs; all else works without them")
    fix = "pip install pydensecrf2, which needs a C++ compiler; or turn CRFs off (crf=null)"
    return Finding("crf", "fail", f"pydensecrf: {facts.crf}", fix)


def _disks(facts: Facts) -> list[Finding]:
    results: list[Finding] = []
    for path, (free, total) in facts.disks.items():
        text = f"{free / GIB:.1f} of {total / GIB:.1f} GiB free"
        if path == SHARED_MEMORY:
            fix = "docker run --shm-size=4g, or an emptyDir of medium Memory on Kubernetes"
            status = "warn" if total < GIB else "ok"
        else:
            fix = "free some space, or put root and TMPDIR on a larger disk"
            status = "fail" if free < DISK_FAIL_BYTES else "warn" if free < DISK_WARN_BYTES else "ok"
        results.append(Finding(f"space in {path}", status, text, "" if status == "ok" else fix))
    return results


def _threads(facts: Facts) -> Finding:
    text = f"{facts.threads} threads on {facts.cores} cores"
    if facts.threads > facts.cores:
        fix = f"set OMP_NUM_THREADS to at most {facts.cores}; more threads than cores can be ten times slower"
        return Finding("threads", "warn", text, fix)
    return Finding(
        "threads", "ok", text + (f" (OMP_NUM_THREADS={facts.omp_num_threads})" if facts.omp_num_threads else "")
    )


def _gpus(facts: Facts, offered: int | None) -> Finding:
    check, there = "gpu", len(facts.gpus)
    if facts.gpu_fault is not None:
        fix = "install a driver for the CUDA of PyTorch (python -c 'import torch; print(torch.version.cuda)')"
        return Finding(check, "fail", f"PyTorch cannot use the GPU: {facts.gpu_fault}", fix)
    if offered is not None and offered > there:
        fix = "give the container its GPUs: --runtime=nvidia or --gpus=all of Docker, nvidia.com/gpu of Kubernetes"
        return Finding(check, "fail", f"Ray offers {counted(offered, 'GPU')}, PyTorch sees {there}", fix)
    if offered is not None and offered < there:
        fix = f"start the node with --num-gpus={there}"
        text = f"Ray offers {offered} of {counted(there, 'GPU')}: no run can use the others"
        return Finding(check, "warn", text, fix)
    return Finding(check, "ok", ", ".join(facts.gpus) or "none on this machine")
