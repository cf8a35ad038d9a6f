"""What the studies of methods share: runs that are not repeated, rows to choose, and their command line."""

from __future__ import annotations

__all__ = ["SEEDS", "chosen_rows", "finished_run", "study_command"]

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from attn.errors import AttnError, ConfigError, RunError
from attn.runs.config_reader import read_config
from attn.training.run_config import RunConfig
from jobs import train
from jobs.runs.run_folder import RunFolder
from jobs.train import TrainResult

SEEDS = (0, 1, 2)
T = TypeVar("T")


def chosen_rows(rows: Sequence[str], available: Sequence[str] | Mapping[str, Any]) -> list[str]:
    """The rows of a table that were asked for; without any, all of them.

    Raises:
        ConfigError: There is no such row.
    """
    if unknown := [row for row in rows if row not in available]:
        raise ConfigError(f"rows={','.join(unknown)} is not available: {', '.join(available)}")
    return list(rows or available)


def finished_run(config: RunConfig, name: str) -> TrainResult:
    """The run of that name, finished: as it is, gone on with, or begun."""
    folder = RunFolder(config.root, name)
    if not folder.exists():
        return train.run(config, run_id=name)
    there = read_config(folder.read("config.yaml").decode(), folder.path("config.yaml"))
    if there != config.resolved_versions():
        raise RunError(f"run {name} is there with another config; give another root, or remove {folder.uri}")
    return train.resume(folder.uri)


def study_command(
    studies: Mapping[str, T], main: Callable[[T, Path, list[str], Sequence[int], Sequence[str]], None]
) -> None:
    """The command line of a benchmark: `STUDY OUT.json [seeds=0,1] [rows=a,b] [a.b=value ...]`.

    Args:
        main: Takes the study, the file, overrides, seeds and the rows to do, of which none means all.
    """
    given = sys.argv[1:]
    if len(given) < 2 or given[0] not in studies:
        name = f"python -m benchmarks.{Path(sys.argv[0]).stem}"
        sys.exit(f"usage: {name} {'|'.join(studies)} OUT.json [seeds=0,1,2] [rows=A,B] [a.b=value ...]")
    picked = {"seeds=": [str(seed) for seed in SEEDS], "rows=": []}
    overrides: list[str] = []
    for text in given[2:]:
        prefix = next((prefix for prefix in picked if text.startswith(prefix)), None)
        if prefix is None:
            overrides.append(text)
        else:
            picked[prefix] = text.removeprefix(prefix).split(",")
    try:
        seeds = [int(seed) for seed in picked["seeds="]]
    except ValueError:
        sys.exit(f"seeds={','.join(picked['seeds='])}: whole numbers with commas between them, such as seeds=0,1,2")
    try:
        main(studies[given[0]], Path(given[1]), overrides, seeds, picked["rows="])
    except AttnError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        sys.exit(130)
