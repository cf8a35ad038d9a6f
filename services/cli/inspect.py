"""Commands that check configs and data, and show recipes; they start no run."""

from __future__ import annotations

__all__ = ["check_data", "show_recipe", "show_recipes", "validate"]

from typing import TYPE_CHECKING, Annotated

import typer

from services.cli.arguments import Address, Overrides, Recipe, Tasks
from services.cli.command import FAILED, Result, command
from services.cli.roots import takes_root
from services.cli.tables import print_rows

if TYPE_CHECKING:
    from rich.console import Console

    from attn.data.check import CheckImages, Report


@command
@takes_root("overrides")
def validate(recipe: Recipe, overrides: Overrides = None) -> Result:
    """Check a config and print it with all its fields."""
    from attn.config.resolve import dump_config
    from attn.errors import ConfigError
    from attn.runs.config_notices import config_notices, missing_files
    from attn.runs.named_images import check_named_images
    from attn.runs.recipes import load_any_run
    from attn.runs.sweep.load import LoadedSweep
    from attn.training.inputs import check_inputs
    from jobs.training.notices import tell_notices

    loaded = load_any_run(recipe, overrides or [])
    if isinstance(loaded, LoadedSweep):  # its trials were checked when it was read
        config = loaded.config
    else:
        config = loaded
        check_inputs(config)
        check_named_images(config)
    tell_notices(config_notices(loaded))
    stopping = missing_files(loaded)
    return Result(
        {"valid": not stopping, "config": config.model_dump(mode="json")},
        lambda console: console.print(dump_config(config), end="", markup=False),
        status=ConfigError.exit_status if stopping else 0,
    )


@command
def show_recipes(context: typer.Context) -> Result | None:
    """List the recipes, or show one."""
    if context.invoked_subcommand is not None:
        return None
    from attn.runs.recipes import list_recipes

    recipes = list_recipes()

    def show(console: Console) -> None:
        print_rows(console, [(recipe.name, recipe.group, recipe.summary, recipe.time) for recipe in recipes])
        console.print("\n`attn recipes show NAME` prints a recipe and the command that runs it.")

    rows = [
        {"name": recipe.name, "group": recipe.group, "summary": recipe.summary, "time": recipe.time}
        for recipe in recipes
    ]
    return Result({"recipes": rows}, show)


@command
def show_recipe(name: Annotated[str, typer.Argument(metavar="NAME", help="A recipe's name.")]) -> Result:
    """Print one recipe and its header: purpose, scores, duration and command."""
    from attn.runs.recipes import find_recipe

    recipe = find_recipe(name)
    return Result(
        {"name": recipe.name, "group": recipe.group, "summary": recipe.summary, "text": recipe.text},
        lambda console: console.print(recipe.text, end="", markup=False),
    )


@command
def check_data(
    recipe: Annotated[
        str | None,
        typer.Argument(
            metavar="RECIPE_OR_FILE",
            help="Recipe with the data to check; or give only data.* fields.",
            show_default=False,
        ),
    ] = None,
    overrides: Overrides = None,
    every: Annotated[bool, typer.Option("--all", help="List all findings, not a few of each kind.")] = False,
    address: Address = None,
    tasks: Tasks = None,
) -> Result:
    """Read every image and label of a data set's split, and list what is wrong, by kind.

    With a recipe, all splits that its run reads are checked, and images that are in both the training and the
    validation split are listed.

    For example: attn data check data.source=voc data.root=VOC2012 data.split=val
    """
    from attn.data.check import EXAMPLES
    from jobs.training.notices import tell_notices

    images = None
    if address is not None or (tasks or 1) > 1:
        from jobs.data_check import SharedCheck

        images = SharedCheck(address, tasks)
    reports, notices = _reports(recipe, overrides or [], images)
    tell_notices(notices)
    first, ok = next(iter(reports.values())), all(report.ok for report in reports.values())

    def show(console: Console) -> None:
        for field, report in reports.items():
            console.print(f"{field}: {report.text(None if every else EXAMPLES)}", markup=False)
        if not every and any(report.has_more(EXAMPLES) for report in reports.values()):
            console.print("--all lists all findings")

    return Result(
        first.to_json() | {"ok": ok, "splits": {field: report.to_json() for field, report in reports.items()}},
        show,
        status=0 if ok else FAILED,
    )


def _reports(
    recipe: str | None, overrides: list[str], images: CheckImages | None
) -> tuple[dict[str, Report], list[str]]:
    """Reports of all splits, by the config field that names the split; and notices of what follows for the run."""
    if recipe is not None and "=" not in recipe:
        return _of_run(recipe, overrides, images)
    from attn.config.resolve import resolve
    from attn.data.check import check_config
    from attn.runs.data import DataConfig
    from attn.runs.layers import with_data
    from attn.runs.texts import LOCAL_TEXTS

    given = with_data([*([recipe] if recipe else []), *overrides], LOCAL_TEXTS)
    data = resolve(DataConfig, "", "command line", given).data
    return {f"data.split={data.split}": check_config(data, images=images)}, []


def _of_run(recipe: str, overrides: list[str], images: CheckImages | None) -> tuple[dict[str, Report], list[str]]:
    """Reports of the data of a run's trainings; of a sweep, of its trials'. Data of several sections is read once."""
    from attn.runs.composed import ComposedConfig
    from attn.runs.recipes import load_any_config, load_run
    from attn.runs.sweep.config import SweepConfig
    from attn.runs.sweep.load import trial_config
    from attn.segmentation.config import SegmentConfig
    from attn.segmentation.cue_saliency import saliency_notices
    from attn.segmentation.labels import CueLabels
    from attn.training.data_check import check_run, refusals
    from attn.training.train_config import TrainConfig

    config = load_any_config(recipe, overrides)
    if isinstance(config, SweepConfig):
        config = trial_config(load_run(recipe, "sweep", overrides).base, {})
    trainings = config.trainings() if isinstance(config, ComposedConfig) else {"": config}
    reports: dict[str, Report] = {}
    notices: list[str] = []
    checked: list[tuple[tuple[object, ...], str]] = []
    for name, training in trainings.items():
        second = training.method.source_stream if isinstance(training, TrainConfig) else None
        source = second.source if second else None
        read = (training.data, training.validation.split, source)
        prefix = f"{name}." if name else ""
        key = next((first for done, first in checked if done == read), None)
        if key is None:
            by_split = {
                f"{prefix}{field}": report for field, report in check_run(training, source, images=images).items()
            }
            key = next(iter(by_split))
            checked.append((read, key))
            reports |= by_split
        own = reports[key] = reports[key].with_errors(refusals(training))
        if isinstance(training, SegmentConfig) and isinstance(training.labels, CueLabels):
            without, field = own.images - own.with_saliency, f"{prefix}labels.saliency"
            notices += saliency_notices(own.images, without, training.labels, field=field)
    return reports, notices
