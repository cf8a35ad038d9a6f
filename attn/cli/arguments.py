"""Arguments and options that several commands take."""

from __future__ import annotations

__all__ = ["Address", "DefaultGroup", "Overrides", "Recipe", "Root", "RunId", "Service"]

from typing import Annotated, Any, ClassVar

import typer
from typer.core import TyperGroup


def recipe_names(incomplete: str) -> list[str]:
    """The recipes that a shell offers to complete a word to."""
    from attn.config.recipes import list_recipes

    return [recipe.name for recipe in list_recipes() if recipe.name.startswith(incomplete)]


Recipe = Annotated[
    str,
    typer.Argument(metavar="RECIPE_OR_FILE", help="A recipe's name, or a YAML file.", autocompletion=recipe_names),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="a.b=value", help="Fields to change, e.g. data.split=val.", show_default=False),
]
Address = Annotated[
    str | None,
    typer.Option(help="Address of a Ray cluster, or 'auto'; without it Ray runs on this machine.", show_default=False),
]
Root = Annotated[str, typer.Option(help="Folder or s3:// prefix that holds the runs.")]
RunId = Annotated[
    str | None, typer.Option("--run-id", help="Name of the run; made up when left out.", show_default=False)
]
Service = Annotated[
    str | None,
    typer.Option(envvar="ATTN_SERVICE", show_envvar=True, help="URL of a jobs service.", show_default=False),
]


class DefaultGroup(TyperGroup):
    """A group whose first word may be left out.

    Attributes:
        default: The command that is run where the first word is none of the group's.
    """

    default: ClassVar[str]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, *ctx.help_option_names):
            args = [self.default, *args]
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """The group's commands, and what the first word may be where the command is left out."""
        command = self.commands[self.default]
        inner = command.make_context(self.default, [], parent=ctx, resilient_parsing=True)
        return [*super().shell_complete(ctx, incomplete), *command.params[0].shell_complete(inner, incomplete)]
