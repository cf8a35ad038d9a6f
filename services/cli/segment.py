"""Commands of segmentation: make and score cues, and predict masks with a trained network."""

from __future__ import annotations

__all__ = ["TrainByDefault", "cues", "predict"]

from typing import TYPE_CHECKING, Annotated

import typer

from services.cli.arguments import Address, DefaultGroup, Overrides, Recipe, RunId
from services.cli.command import Result
from services.cli.roots import takes_root
from services.cli.run_commands import command_for
from services.cli.tables import print_tree

if TYPE_CHECKING:
    from rich.console import Console


class TrainByDefault(DefaultGroup):
    """`attn segment RECIPE` trains."""

    default = "train"


@command_for("cues")
@takes_root("overrides")
def cues(
    recipe: Recipe,
    overrides: Overrides = None,
    sweep: Annotated[bool, typer.Option("--sweep", help="Also score a grid of thresholds.")] = False,
    run_id: RunId = None,
) -> Result:
    from attn.runs.started import recipe_of, started_from
    from jobs.cues import grid_table, load, run, table

    with started_from(recipe_of(recipe)):
        result = run(load(recipe, overrides or [], sweep=sweep), run_id=run_id)
    data = result.to_json()

    def show(console: Console) -> None:
        if result.score is not None:
            console.print(table(data["report"]))
        if result.grid is not None:
            console.print(grid_table(result))
        files = {"pictures": result.sheet, "grid": result.grid_csv, "heat map": result.grid_picture}
        shown = {"folder": result.folder, "saliency": result.report.saliency}
        print_tree(console, shown | {name: path for name, path in files.items() if path is not None})

    return Result(data, show)


@command_for("masks")
@takes_root("overrides")
def predict(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="A trained network's folder, a run's name, or NAME@ALIAS of the registry."
        ),
    ],
    overrides: Overrides = None,
    voc_submission: Annotated[
        bool, typer.Option("--voc-submission", help="Write the masks in the format of VOC's evaluation server.")
    ] = False,
    run_id: RunId = None,
    address: Address = None,
) -> Result:
    from jobs.segment_predict import load, run, table

    job = load(model, overrides or [], voc_submission=voc_submission)
    result = run(job, run_id=run_id, address=address)

    def show(console: Console) -> None:
        if result.scores:
            console.print(table(result))
        console.print(f"masks: {result.submission or result.masks or 'not written'}", markup=False)

    return Result(result.to_json(), show)
