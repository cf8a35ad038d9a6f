"""The command that draws several models' maps side by side."""

from __future__ import annotations

__all__ = ["compare"]

from typing import Annotated

import typer

from services.cli.arguments import RunId
from services.cli.command import Result
from services.cli.results import shown
from services.cli.roots import takes_root
from services.cli.run_commands import command_for


@command_for("compare")
@takes_root("targets")
def compare(
    targets: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL_OR_STORE... [a.b=value ...]",
            help="Models and map stores to draw, named as for `attn evaluate`; then config fields to change, e.g. "
            "data.split=test panels=6.",
            show_default=False,
        ),
    ],
    titles: Annotated[
        str | None,
        typer.Option(help="Titles of the rows, separated by commas; by default their names.", show_default=False),
    ] = None,
    confusion: Annotated[
        bool,
        typer.Option(
            "--confusion",
            help="Draw the maps of each image's class and of its most confusing class, at two layers, and score how "
            "much they overlap; map_kind=pixel draws pixel attention.",
        ),
    ] = False,
    run_id: RunId = None,
) -> Result:
    from attn.errors import ConfigError, Fault
    from jobs.compare import load, run

    overrides = [text for text in targets if "=" in text]
    models = [text for text in targets if "=" not in text]
    names = models if titles is None else [title.strip() for title in titles.split(",")]
    if len(names) != len(models):
        raise ConfigError([Fault("--titles", f"{len(names)} titles for {len(models)} models", "give one per model")])
    if twice := sorted({name for name in names if names.count(name) > 1}):
        hint = "give each row its own title, e.g. --titles before,after"
        raise ConfigError([Fault("--titles", f"several rows have the title {', '.join(twice)}", hint)])
    job = load(dict(zip(names, models, strict=True)), overrides, confusion=confusion)
    return shown(run(job, run_id=run_id))
