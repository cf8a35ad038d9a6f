"""`--root X` and `root=X` mean the same, for commands that take fields of a config and for those that do not."""

from __future__ import annotations

__all__ = ["GivenRoot", "RootCommand", "merged_root", "takes_root"]

import functools
import inspect
import os
from collections.abc import Callable
from typing import Annotated, Any, TypeVar, cast

import typer
from typer.core import TyperCommand

from attn.errors import ConfigError, Fault
from services.cli.arguments import checked_root

T = TypeVar("T")
ASSIGNMENT, OPTION = "root=", "--root"


def _checked(root: str | None) -> str | None:
    return None if root is None else checked_root(root)


GivenRoot = Annotated[
    str | None,
    typer.Option(
        OPTION,
        help="Folder or s3:// prefix of the runs; the same as root=.",
        callback=_checked,
        show_default=False,
    ),
]


def takes_root(name: str) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Give a command that takes fields of a config the option `--root`, which sets the field `root`.

    Args:
        name: The parameter with the fields, a list of words.
    """

    def decorate(body: Callable[..., T]) -> Callable[..., T]:
        @functools.wraps(body)
        def run(*arguments: Any, given_root: str | None, **options: Any) -> T:
            if given_root is not None:
                from attn.config.document import override_of

                words = options[name] or []
                fields = [word for value in options.values() for word in _words(value) if word.startswith(ASSIGNMENT)]
                merged_root(given_root, fields)
                options[name] = [*words, override_of("root", given_root)]
            return body(*arguments, **options)

        signature = inspect.signature(body, eval_str=True)
        added = inspect.Parameter("given_root", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=GivenRoot)
        parameters = [*signature.parameters.values(), added]
        cast("Any", run).__signature__ = signature.replace(parameters=parameters)
        return run

    return decorate


def merged_root(root: str | None, fields: list[str]) -> str | None:
    """The root that an option and fields `root=X` name together; None if none does.

    Raises:
        ConfigError: They name different ones, or one with a login.
    """
    named = ([] if root is None else [root]) + [field.removeprefix(ASSIGNMENT) for field in fields]
    for one in named:
        if _place(one) != _place(named[0]):
            words = f"{OPTION} {root} and {ASSIGNMENT}{one}" if root is not None else " and ".join(fields)
            raise ConfigError([Fault(OPTION, f"{words} differ", "give one of them")])
    try:
        return checked_root(named[0]) if named else None
    except typer.BadParameter as error:
        raise ConfigError([Fault(OPTION, error.message)]) from None


class RootCommand(TyperCommand):
    """A command with the option `--root` that also takes `root=X`, if it takes no other fields."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        options = {option for parameter in self.params for option in parameter.opts}
        if OPTION in options and not any(parameter.nargs == -1 for parameter in self.params):
            fields = [word for word in args if word.startswith(ASSIGNMENT)]
            given = [word.partition("=")[2] for word in args if word.startswith(f"{OPTION}=")]
            given += [args[at + 1] for at, word in enumerate(args[:-1]) if word == OPTION]
            if fields:
                try:
                    root = merged_root(given[0] if given else None, fields)
                except ConfigError as error:
                    fault = error.faults[0]
                    raise typer.BadParameter(": ".join(filter(None, (fault.message, fault.hint)))) from None
                args = [word for word in args if word not in fields]
                args += [] if given else [OPTION, str(root)]
        return super().parse_args(ctx, args)


def _words(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [word for word in value if isinstance(word, str)] if isinstance(value, list) else []


def _place(root: str) -> str:
    from attn.config.base import is_remote

    return root.rstrip("/") if is_remote(root) else os.path.abspath(os.path.expanduser(root))
