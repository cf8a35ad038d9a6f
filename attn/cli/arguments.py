"""Arguments and options that several commands take."""

from __future__ import annotations

__all__ = ["Address", "Overrides", "Recipe", "Root", "Service"]

from typing import Annotated

import typer

Recipe = Annotated[str, typer.Argument(metavar="RECIPE_OR_FILE", help="A recipe's name, or a YAML file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="a.b=value", help="Fields to change, e.g. data.split=val.", show_default=False),
]
Address = Annotated[
    str | None,
    typer.Option(help="Address of a Ray cluster, or 'auto'; without it Ray runs on this machine.", show_default=False),
]
Root = Annotated[str, typer.Option(help="Folder or s3:// prefix that holds the runs.")]
Service = Annotated[
    str | None,
    typer.Option(envvar="ATTN_SERVICE", show_envvar=True, help="URL of a jobs service.", show_default=False),
]
