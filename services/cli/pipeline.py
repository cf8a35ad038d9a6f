"""The command that runs all stages from training a classifier to scoring a segmentation network."""

from __future__ import annotations

__all__ = ["pipeline"]

from pathlib import Path
from typing import Annotated

import typer

from services.cli.arguments import Address, Overrides, Recipe
from services.cli.command import Result
from services.cli.results import shown
from services.cli.roots import takes_root
from services.cli.run_commands import command_for


@command_for("pipeline")
@takes_root("overrides")
def pipeline(
    recipe: Recipe,
    overrides: Overrides = None,
    start: Annotated[
        str | None,
        typer.Option("--from", metavar="STAGE", help="Repeat this stage and all later ones.", show_default=False),
    ] = None,
    run_id: Annotated[
        str | None,
        typer.Option("--run-id", help="Name of the pipeline; by default the recipe's name.", show_default=False),
    ] = None,
    address: Address = None,
) -> Result:
    from attn.runs.pipeline import load_pipeline
    from attn.runs.started import recipe_of, started_from
    from jobs.pipeline import run

    config = load_pipeline(recipe, overrides or [])
    with started_from(recipe_of(recipe, overrides or [])):
        return shown(run(config, run_id=run_id or Path(recipe).stem, start=start, address=address))
