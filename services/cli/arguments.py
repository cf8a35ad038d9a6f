"""Arguments and options that several commands take."""

from __future__ import annotations

__all__ = [
    "Address",
    "CoveredGroup",
    "DefaultGroup",
    "Group",
    "OrResume",
    "Overrides",
    "Recipe",
    "Root",
    "RunId",
    "Service",
    "Tasks",
    "kind_names",
]

import contextlib
import os
from collections.abc import Generator
from typing import Annotated, Any, ClassVar

import typer
from typer.core import TyperGroup

from attn.redaction import has_login, without_secrets


def recipe_names(incomplete: str) -> list[str]:
    """Names of recipes for shell completion."""
    from attn.runs.recipes import recipe_paths

    return [name for name in recipe_paths() if name.startswith(incomplete)]


def kind_names(incomplete: str) -> list[str]:
    """Kinds of runs for shell completion."""
    from attn.runs.table import KINDS

    return [name for name in KINDS if name.startswith(incomplete)]


def checked_root(root: str) -> str:
    """A root with its `~` replaced, which the shell leaves in `root=~/runs`.

    Refuses one with a user, password or key in it: the root is printed and saved with runs.
    """
    if has_login(root):
        raise typer.BadParameter(
            "must not contain a user, password or key: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY instead"
        )
    return os.path.expanduser(root)


LONGEST_SENTENCE = 400

Recipe = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE_OR_FILE", help="Name of a recipe, or path of a YAML file.", autocompletion=recipe_names
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="a.b=value", help="Config fields to change, e.g. data.split=val.", show_default=False),
]
Address = Annotated[
    str | None,
    typer.Option(
        help="Address of a Ray cluster, or 'auto' to find it; by default Ray runs on this machine.", show_default=False
    ),
]
Tasks = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=4096,
        help="Most Ray processes that share the images; by default one process here, or a whole cluster.",
        show_default=False,
    ),
]
Root = Annotated[str, typer.Option(help="Folder or s3:// prefix of the runs.", callback=checked_root)]
RunId = Annotated[
    str | None, typer.Option("--run-id", help="Name of the run; by default a new name.", show_default=False)
]
OrResume = Annotated[
    bool,
    typer.Option("--or-resume", help="If there is a run of this --run-id, continue it with its own config."),
]
Service = Annotated[
    str | None,
    typer.Option(
        envvar="ATTN_SERVICE", show_envvar=True, help="URL of a jobs service (`attn serve`).", show_default=False
    ),
]


class Group(TyperGroup):
    """A group whose help shows the whole first sentence of each command, wrapped; Typer cuts it at the line's end."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        commands = ((name, self.commands[name]) for name in self.list_commands(ctx))
        rows = [(name, command.get_short_help_str(LONGEST_SENTENCE)) for name, command in commands]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


class CoveredGroup(Group):
    """A group whose messages about a wrong command line never repeat a password from it."""

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        with _covered():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: Any) -> Any:
        with _covered():
            return super().invoke(ctx)


@contextlib.contextmanager
def _covered() -> Generator[None]:
    try:
        yield
    except Exception as error:
        shown: Any = error  # the class of Typer's errors is not public
        if isinstance(getattr(shown, "message", None), str) and hasattr(shown, "format_message"):
            shown.message = without_secrets(shown.message)
        raise


class DefaultGroup(Group):
    """A group with a default command.

    Attributes:
        default: The command that runs if the first argument is not a command of the group.
    """

    default: ClassVar[str]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, *ctx.help_option_names):
            args = [self.default, *args]
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """The group's commands, and completions of the default command's first argument."""
        command = self.commands[self.default]
        inner = command.make_context(self.default, [], parent=ctx, resilient_parsing=True)
        return [*super().shell_complete(ctx, incomplete), *command.params[0].shell_complete(inner, incomplete)]
