"""The measurements as Markdown."""

from __future__ import annotations

__all__ = ["table"]

import statistics
from typing import Any

MIB = 2**20
TITLES = {"voc": "VOC-sized, real maps", "imagenet": "ImageNet-sized"}


def table(measured: list[dict[str, Any]], memory: list[dict[str, Any]]) -> str:
    """One table per size, layouts as rows; medians over epochs after the first and over rounds."""
    parts = [_layouts(work, [run for run in measured if run["work"] == work]) for work in TITLES]
    return "\n\n".join([part for part in parts if part] + [_merges(measured), _memory(memory)]) + "\n"


def _layouts(work: str, runs: list[dict[str, Any]]) -> str:
    if not runs:
        return ""
    names = list(dict.fromkeys(run["layout"] for run in runs))
    ours = [run for run in runs if run["layout"] == names[0]]
    lines = [
        f"**{TITLES[work]}**",
        "",
        "| layout | maps | s per epoch (first) | CPU s | times ours (CPU) | objects | MiB (on disk) | peak MiB | "
        "read ms (95 %) |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name in names:
        mine = [run for run in runs if run["layout"] == name]
        share = mine[0]["maps"] / ours[0]["maps"]
        ratios = [_later(mine, key) / _later(ours, key) / share for key in ("epoch_s", "epoch_cpu_s")]
        cells = [
            f"{mine[0]['maps']:,}",
            f"{_later(mine, 'epoch_s'):.3g} ({_median(run['epoch_s'][0] for run in mine):.3g})",
            f"{_later(mine, 'epoch_cpu_s'):.3g}",
            f"{ratios[0]:.3g} ({ratios[1]:.3g})",
            f"{mine[0]['objects']:,}",
            f"{mine[0]['bytes'] / MIB:.1f} ({mine[0]['disk_bytes'] / MIB:.1f})",
            f"{_median(run['peak_bytes'] for run in mine) / MIB:.0f}",
            f"{_median(run['read_ms'] for run in mine):.3f} ({_median(run['read_p95_ms'] for run in mine):.3f})",
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _merges(measured: list[dict[str, Any]]) -> str:
    lines = ["| merge | maps per s and core | per CPU second |", "|---|---|---|"]
    for work, title in TITLES.items():
        runs = [run for run in measured if run["work"] == work and run["layout"] == "map store"]
        if runs:
            rates = [_later(runs, key) for key in ("merged_per_s", "merged_per_cpu_s")]
            lines.append(f"| {title} | {rates[0]:,.0f} | {rates[1]:,.0f} |")
    return "\n".join(lines)


def _memory(memory: list[dict[str, Any]]) -> str:
    lines = ["| writer | maps | sealed every | peak MiB |", "|---|---|---|---|"]
    for case in memory:
        limit = f"limit {case['limit_bytes'] // MIB} MiB" if case["limit_bytes"] else "no limit"
        lines.append(f"| {limit} | {case['maps']:,} | {case['seal_every']:,} | {case['peak_bytes'] / MIB:.0f} |")
    return "\n".join(lines)


def _later(runs: list[dict[str, Any]], key: str) -> float:
    """Median over the epochs that have something to join, and over rounds."""
    return _median(value for run in runs for value in run[key][1:] or run[key])


def _median(values: Any) -> float:
    return float(statistics.median(list(values)))
