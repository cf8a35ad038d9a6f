"""Commands of segmentation: make and score cues, and predict masks with a trained network."""

from __future__ import annotations

__all__ = ["TrainByDefault", "cues", "predict"]

from typing import Annotated

import typer

from services.cli.arguments import Address, DefaultGroup, Overrides, Recipe, RunId
from services.cli.command import Result
from services.cli.results import shown
from services.cli.roots import takes_root
from services.cli.run_commands import command_for


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
    address: Address = None,
) -> Result:
    from attn.runs.started import recipe_of, started_from
    from jobs.cues import load, run

    with started_from(recipe_of(recipe, overrides or [])):
        return shown(run(load(recipe, overrides or [], sweep=sweep), run_id=run_id, address=address))


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
    from jobs.segment_predict import load, run

    job = load(model, overrides or [], voc_submission=voc_submission)
    return shown(run(job, run_id=run_id, address=address))
