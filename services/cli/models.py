"""Commands for the registry of trained models."""

from __future__ import annotations

__all__ = ["export", "get", "ls", "promote", "register", "show"]

import shlex
from typing import TYPE_CHECKING, Annotated, Any

import typer

from attn.display import percent
from services.cli.command import Result, command
from services.cli.roots import takes_root
from services.cli.tables import print_rows

if TYPE_CHECKING:
    from rich.console import Console

Name = Annotated[str, typer.Argument(metavar="NAME", help="NAME@ALIAS, NAME/VERSION, or NAME for the newest version.")]
Lookup = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="a.b=value",
        help="Registry that is not under --root: tracking.uri=http://...",
        show_default=False,
    ),
]


@command
@takes_root("lookup")
def ls(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="List only its versions.", show_default=False)
    ] = None,
    lookup: Lookup = None,
) -> Result:
    """List the registered models and their versions, newest first."""
    from jobs.registry import ls as list_them
    from jobs.runs.open_model import model_lookup

    given = [*([name] if name and "=" in name else []), *(lookup or [])]
    data = list_them(model_lookup(given, only=True), None if name is None or "=" in name else name).to_json()

    def show_it(console: Console) -> None:
        rows = [
            (f"{one['name']}/{one['version']}", " ".join(f"@{alias}" for alias in one["aliases"]), one["task"],
             one["run"] or "", _best(one["scores"]), one["broken"] or "")
            for one in data["models"]
        ]  # fmt: skip
        if rows:
            print_rows(console, [("model", "aliases", "task", "run", "scores", ""), *rows])
        else:
            console.print("no registered models; `attn models register RUN NAME` registers one")

    return Result(data, show_it)


@command
@takes_root("lookup")
def show(name: Name, lookup: Lookup = None) -> Result:
    """Print a registered model's card: network, training data, scores, and how to use it."""
    from jobs.registry import show as show_one
    from jobs.runs.open_model import model_lookup

    data = show_one(name, model_lookup(lookup or [], only=True)).to_json()
    return Result(data, lambda console: console.print(data["card"], end="", markup=False))


@command
@takes_root("lookup")
def get(
    name: Name,
    lookup: Lookup = None,
    to: Annotated[
        str | None, typer.Option(help="Folder to write; by default NAME-VERSION.", show_default=False)
    ] = None,
) -> Result:
    """Download a registered model and check its hash; the folder can then be used offline."""
    from jobs.registry import get as fetch
    from jobs.runs.open_model import model_lookup

    data = fetch(name, model_lookup(lookup or [], only=True), to).to_json()

    def show_it(console: Console) -> None:
        console.print(f"{data['name']}/{data['version']} is in {data['folder']}", markup=False)
        console.print(f"attn predict IMAGE --model {shlex.quote(data['folder'])}", markup=False)

    return Result(data, show_it)


@command
@takes_root("lookup")
def register(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Name of a run that is done, or its folder.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name to register its model under.")],
    lookup: Lookup = None,
    alias: Annotated[
        str | None, typer.Option(help="Alias to move to the new version, e.g. champion.", show_default=False)
    ] = None,
) -> Result:
    """Register the model of a finished run: of a training, a trial, a sweep (its best trial) or a pipeline."""
    from jobs.registration import register as register_it
    from jobs.runs.open_model import model_lookup

    registration = register_it(run, name, model_lookup(lookup or [], only=True), alias)

    def show_it(console: Console) -> None:
        model = registration.model
        aliases = "".join(f" @{one}" for one in model.aliases)
        other = registration.model.run not in (None, registration.run)
        by = f" by run {registration.model.run}" if other else ""
        there = "" if registration.new else f", which was registered before{by}"
        console.print(f"{model.reference}{aliases} is the model of run {registration.run}{there}", markup=False)
        console.print(f"registry: {registration.registry}", markup=False)

    return Result(registration.to_json(), show_it)


@command
@takes_root("lookup")
def promote(
    name: Name,
    alias: Annotated[str, typer.Argument(metavar="ALIAS", help="The alias to set, e.g. champion.")],
    lookup: Lookup = None,
) -> Result:
    """Move an alias to a version of a registered model."""
    from jobs.registry import promote as move
    from jobs.runs.open_model import model_lookup

    data = move(name, alias, model_lookup(lookup or [], only=True)).to_json()

    def show_it(console: Console) -> None:
        before = "" if data["before"] is None else f" (before: version {data['before']})"
        console.print(f"{data['name']}@{data['alias']} is version {data['version']}{before}", markup=False)
        if data["before"] is not None:
            names = (f"{data['name']}/{data['before']}", f"{data['name']}/{data['version']}")
            for line in _class_lines(data["classes"], names):
                console.print(line, markup=False)
            if not data["compared"] and not data["not_compared"]:
                words = f"not compared: neither {names[0]} nor {names[1]} has scores: `attn evaluate"
                console.print(f"{words} {names[1]} tracking.enabled=true` takes them", markup=False)
            print_pairs(console, data, names, "`attn evaluate {} tracking.enabled=true` takes it")

    return Result(data, show_it)


@command
@takes_root("lookup")
def export(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="A trained model's folder, a run's name, or NAME@ALIAS of the registry."),
    ],
    to: Annotated[str, typer.Option(help="The file to write.", show_default=False)],
    lookup: Lookup = None,
    form: Annotated[str, typer.Option("--format", help="onnx or torch_export.")] = "onnx",
) -> Result:
    """Export a model's network for other programs, and compare it with the original on random inputs."""
    from jobs.registry import export as write
    from jobs.runs.open_model import model_lookup

    data = write(model, model_lookup(lookup or [], only=True), form=form, to=to).to_json()

    def show_it(console: Console) -> None:
        free = ", ".join(data["dynamic"])
        console.print(f"{data['file']}: {', '.join(data['outputs'])}; any {free}", markup=False)
        for name, difference in data["differences"].items():
            console.print(f"largest difference of {name} from the original network: {difference:.3g}")
        for note in data["notes"]:
            console.print(note, markup=False)

    return Result(data, show_it)


def print_pairs(
    console: Console, pairs: dict[str, Any], names: tuple[str, str] = ("A", "B"), way_out: str = ""
) -> None:
    """Print scores of equal protocol with their difference, and for the others why they are not compared.

    Args:
        names: Of the two that are compared.
        way_out: What to do about a score that only one of them has; `{}` stands for the other.
    """
    rows: list[tuple[str, ...]] = []
    for one in pairs["compared"]:
        figures = (percent(one["a"]), percent(one["b"]), percent(one["difference"], sign="+"))
        rows.append((one["name"], *figures, f"protocol {one['protocol'][:12]}"))
    if rows:
        print_rows(console, [("score, %", *names, "difference", ""), *rows])
    reasons: dict[str, list[str]] = {}
    for one in pairs["not_compared"]:
        why = "; ".join(one["why"])
        if side := one.get("only"):
            has, lacks = names if side == "a" else reversed(names)
            why = f"{has} has this score, {lacks} does not" + (f": {way_out.format(lacks)}" if way_out else "")
        reasons.setdefault(why, []).append(one["name"])
    for why, scores in reasons.items():
        console.print(f"not compared: {', '.join(scores)}: {why}", markup=False)


def _class_lines(change: dict[str, Any] | None, names: tuple[str, str]) -> list[str]:
    """How the classes of two versions differ, or that it is not known; nothing if they are the same."""
    from attn.data.classes import first_names

    before, after = names
    if change is None:
        return [f"classes not compared: those of {before} or {after} cannot be read"]
    if change["reordered"]:
        return [f"{after} has the classes of {before} in another order: their indices and mask values differ"]
    parts = [f"new: {first_names(change['new'])}"] if change["new"] else []
    parts += [f"missing: {first_names(change['missing'])}"] if change["missing"] else []
    return [f"{after} has other classes than {before}: {'; '.join(parts)}"] if parts else []


def _best(scores: list[dict[str, Any]]) -> str:
    """The main scores of the newest evaluations."""
    shown = [one for one in scores if one["name"] in ("mean_ap", "seed_miou", "miou", "miou_crf")]
    from attn.files.locations import name_of

    return ", ".join(f"{one['name']} {percent(one['value'])} % ({name_of(one['protocol']['split'])})" for one in shown)
