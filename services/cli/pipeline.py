"""The command that runs all stages from training a classifier to scoring a segmentation network."""

from __future__ import annotations

__all__ = ["pipeline"]

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli.arguments import Address, Overrides, Recipe
from services.cli.command import Result
from services.cli.roots import takes_root
from services.cli.run_commands import command_for
from services.cli.tables import print_rows, print_tree

if TYPE_CHECKING:
    from rich.console import Console


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
    with started_from(recipe_of(recipe)):
        result = run(config, run_id=run_id or Path(recipe).stem, start=start, address=address)

    def show(console: Console) -> None:
        rows = [
            (name, stage.run_id, "reused" if stage.reused else f"{stage.seconds:.0f} s")
            for name, stage in result.stages.items()
        ]
        print_rows(console, rows)
        print_tree(console, {name: data[name] for name in ("scores", "model", "masks", "folder")})

    data = result.to_json()
    return Result(data, show)
