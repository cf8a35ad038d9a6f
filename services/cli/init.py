"""The command that writes a file to start from."""

from __future__ import annotations

__all__ = ["init"]

from typing import TYPE_CHECKING, Annotated

import typer

from services.cli.arguments import Overrides, Recipe
from services.cli.command import Result, command

if TYPE_CHECKING:
    from rich.console import Console


@command
def init(
    recipe: Recipe,
    file: Annotated[str, typer.Argument(metavar="FILE.yaml", help="File to write.")],
    overrides: Overrides = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="YAML file with the fields of the data section, which the new file names.", show_default=False
        ),
    ] = None,
) -> Result:
    """Write a short file that starts from a recipe: what must be set, and the fields that people change most.

    For example: attn init gain my.yaml data.source=folder data.root=photos
    """
    from attn.config.document import override_of
    from attn.errors import ConfigError, Fault
    from attn.runs.starter import starter
    from jobs.training.notices import tell_notices

    if not file.endswith((".yaml", ".yml")):
        raise ConfigError([Fault(file, "is not the name of a YAML file", f"{file}.yaml")])
    given = [*(overrides or []), *([override_of("data", data)] if data is not None else [])]
    started = starter(recipe, file, given)
    try:
        with open(file, "x", encoding="utf-8") as stream:
            stream.write(started.text)
    except FileExistsError:
        raise ConfigError([Fault(file, "is there already", "choose another name, or remove it")]) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            [Fault(file, f"cannot be written: {reason}", "choose a name in a folder that exists")]
        ) from None

    tell_notices(started.notices)

    def show(console: Console) -> None:
        console.print(f"wrote {file}", markup=False)
        if started.missing:
            console.print(f"set {', '.join(started.missing)} in it, then", markup=False)
        for number, line in enumerate(started.commands):
            console.print(f"{'next:' if not number else '':<6}{line}", markup=False)

    result = {"file": file, "kind": started.kind, "missing": list(started.missing), "next": list(started.commands)}
    return Result(result, show)
