"""The command `attn`."""

from __future__ import annotations

__all__ = ["app", "main", "program"]

import functools
from typing import Annotated, Any

import typer

from attn import __version__
from attn.proxies import bypass_proxies_for_loopback
from services.cli import (
    compare,
    deploy,
    doctor,
    explain,
    export,
    init,
    inspect,
    jobs,
    listing,
    models,
    pipeline,
    plan,
    predict,
    repro,
    runs,
    segment,
    serve,
    show,
    store,
    sweep,
    view,
)
from services.cli.arguments import CoveredGroup, Group
from services.cli.roots import RootCommand
from services.cli.run_commands import add_kinds, command_of
from services.cli.terminal import replace_unencodable

HELP = """Train image classifiers with attention guidance (GAIN, OAA, ICASC, AttnBN), and score their attention maps.

For example:

\b
  attn recipes                          list the recipes
  attn train scenes_gain                train on generated images
  attn train gain training.epochs=5     change a field of a recipe
  attn evaluate RUN data.split=test     score a trained model
"""

app = typer.Typer(
    name="attn",
    cls=CoveredGroup,
    help=HELP,
    epilog="Exit status: 0 done, 1 failed, 2 invalid configuration, 3 cancelled, 4 service or cluster unreachable, "
    "5 interrupted: the run's process has ended without a word, and `attn resume` goes on with it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rendering the help with Rich would double its time
    context_settings={"help_option_names": ["-h", "--help"]},
)


def print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"attn {__version__}")
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version and exit.")
]


@app.callback()
def options(version: Version = False) -> None:
    pass


app.command("train")(command_of("train"))
app.command(cls=RootCommand)(runs.resume)
app.command()(pipeline.pipeline)
app.command()(runs.evaluate)
app.command()(compare.compare)
app.command()(runs.maps)
app.command(cls=RootCommand)(listing.ls)
app.command(cls=RootCommand)(show.show)
app.command(cls=RootCommand)(view.view)
app.command()(predict.predict)
app.command()(export.export)
app.command(cls=RootCommand)(repro.repro)
app.command(cls=RootCommand)(repro.diff)
app.command()(init.init)
app.command()(inspect.validate)
app.command()(explain.explain)
app.command()(doctor.doctor)
app.command(cls=RootCommand)(serve.serve)
app.command()(deploy.deploy)
app.command()(jobs.submit)
app.command(cls=RootCommand)(jobs.status)
app.command(cls=RootCommand)(jobs.logs)
app.command(cls=RootCommand)(jobs.cancel)

recipes = typer.Typer(cls=Group, no_args_is_help=False)
recipes.callback(invoke_without_command=True)(inspect.show_recipes)
recipes.command("show")(inspect.show_recipe)
app.add_typer(recipes, name="recipes")

segmentation = typer.Typer(
    cls=segment.TrainByDefault,
    help="Train a segmentation network: attn segment RECIPE_OR_FILE [a.b=value]. Or run one of these commands:",
    no_args_is_help=True,
)
segmentation.command("train")(command_of("segment"))
segmentation.command("cues")(segment.cues)
segmentation.command("predict")(segment.predict)
app.add_typer(segmentation, name="segment")

sweeps = typer.Typer(
    cls=sweep.RunByDefault,
    help="Search over fields of a config: attn sweep RECIPE_OR_FILE [a.b=value]. Or run one of these commands:",
    no_args_is_help=True,
)
sweeps.command("run")(sweep.run)
sweeps.command("resume", cls=RootCommand)(sweep.resume)
app.add_typer(sweeps, name="sweep")
app.command()(plan.plan)

registry = typer.Typer(
    cls=Group,
    help="Register the models of runs; list, show, download, promote and export registered models.",
    no_args_is_help=True,
)
registry.command("ls")(models.ls)
registry.command("show")(models.show)
registry.command("get")(models.get)
registry.command("register")(models.register)
registry.command("promote")(models.promote)
registry.command("export")(models.export)
app.add_typer(registry, name="models")

data = typer.Typer(cls=Group, help="Check data sets.", no_args_is_help=True)
data.command("check")(inspect.check_data)
data.callback()(lambda: None)
app.add_typer(data, name="data")

maps = typer.Typer(cls=Group, help="Show, check, clean up and export map stores.", no_args_is_help=True)
maps.command("show")(store.show)
maps.command("verify")(store.verify)
maps.command("gc")(store.gc)
maps.command("export")(store.export)
maps.command("growth")(store.growth)
app.add_typer(maps, name="store")

add_kinds(app)


@functools.cache
def program() -> Any:
    """The commands of `app`, built once a process: Typer builds them anew for each call of `app`."""
    return typer.main.get_command(app)


def main() -> None:
    """Run the command line and end the process with its exit status."""
    replace_unencodable()
    bypass_proxies_for_loopback()
    program()()
