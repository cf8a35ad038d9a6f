"""What a run's record says of the run: its recipe, paper, data and command."""

from __future__ import annotations

__all__ = ["describe_run"]

import shlex
from typing import Any

from attn.config.base import Config
from attn.runs.composed import ComposedConfig
from attn.runs.started import Started, started
from attn.runs.table import KINDS
from attn.tracking import DataUsed, RunDescription, run_params
from jobs.runs.about import about_of
from jobs.runs.provenance import command_line
from jobs.runs.run_folder import RunFolder

LINE = 76
"""Characters of a line of a command."""


def describe_run(kind: str, config: Config, folder: RunFolder, data: DataUsed | None) -> RunDescription:
    """The parameters and the description of a run that begins."""
    start, entry = started(), KINDS.get(kind)
    params = run_params(config, None if start is None else start.baseline(config))
    program = f"attn {(entry and entry.command) or kind}"
    command = command_line()
    if command is None and entry is not None and entry.config is not None:  # begun by the service, or from Python
        command = [*program.split(), folder.path("config.yaml")]
    lines = [
        "" if start is None else _title(start, config),
        *(f"**Paper:** {paper}" for paper in _papers(config)),
        "" if data is None else f"**Data:** {data}",
        "" if command is None else f"**Repeat it:**\n\n```bash\n{_lines(command)}\n```",
    ]
    return RunDescription(
        params=params if start is None else {"recipe": start.recipe.name, **params},
        text="\n\n".join(line for line in lines if line),
        program=program,
        data=() if data is None else (data,),
    )


def _title(start: Started, config: Config) -> str:
    """The recipe's title, if the run trains by the recipe's methods; else what it trains by. A sweep keeps it."""
    baseline = start.baseline(config)
    own, theirs = (None if one is None else _trained_by(one) for one in (config, baseline))
    same = not own or baseline is None or own == theirs
    return start.recipe.summary if same else f"{own}, from the recipe {start.recipe.name}"


def _trained_by(config: Config) -> str | None:
    kind = str(getattr(config, "kind", "train"))
    return None if kind == "sweep" else about_of(kind, config.model_dump(mode="json")).what


def _lines(command: list[str]) -> str:
    """A command without the id of the run, which is taken; in short lines: a long one pushes MLflow's page apart."""
    lines, words = [""], iter(shlex.quote(word) for word in command)
    for word in words:
        if word == "--run-id":
            next(words, None)
        elif not word.startswith("--run-id="):
            if lines[-1] and len(lines[-1]) + len(word) > LINE:
                lines.append(" ")
            lines[-1] += f" {word}" if lines[-1] else word
    return " \\\n".join(lines)


def _papers(config: Config) -> list[str]:
    """The papers of the methods that a run trains by."""
    trainings = config.trainings().values() if isinstance(config, ComposedConfig) else (config,)
    methods: list[Any] = [getattr(one, "method", None) for one in trainings]
    return list(dict.fromkeys(paper for method in methods if (paper := getattr(method, "paper", ""))))
