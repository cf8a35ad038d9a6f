"""What a run's record says of the run: its recipe, paper, data and command."""

from __future__ import annotations

__all__ = ["describe_run"]

import shlex
from typing import Any

from attn.config.base import Config
from attn.runs.composed import ComposedConfig
from attn.runs.started import started
from attn.runs.table import KINDS
from attn.tracking import DataUsed, RunDescription, run_params
from jobs.runs.provenance import command_line
from jobs.runs.run_folder import RunFolder


def describe_run(kind: str, config: Config, folder: RunFolder, data: DataUsed | None) -> RunDescription:
    """The parameters and the description of a run that begins."""
    start, entry = started(), KINDS.get(kind)
    params = run_params(config, None if start is None else start.baseline(config))
    program = f"attn {(entry and entry.command) or kind}"
    command = command_line()
    if command is None and entry is not None and entry.config is not None:  # begun by the service, or from Python
        command = [*program.split(), folder.path("config.yaml")]
    lines = [
        "" if start is None else start.recipe.summary,
        *(f"**Paper:** {paper}" for paper in _papers(config)),
        "" if data is None else f"**Data:** {data}",
        "" if command is None else f"**Repeat it:**\n\n```bash\n{shlex.join(command)}\n```",
    ]
    return RunDescription(
        params=params if start is None else {"recipe": start.recipe.name, **params},
        text="\n\n".join(line for line in lines if line),
        program=program,
        data=() if data is None else (data,),
    )


def _papers(config: Config) -> list[str]:
    """The papers of the methods that a run trains by."""
    trainings = config.trainings().values() if isinstance(config, ComposedConfig) else (config,)
    methods: list[Any] = [getattr(one, "method", None) for one in trainings]
    return list(dict.fromkeys(paper for method in methods if (paper := getattr(method, "paper", ""))))
