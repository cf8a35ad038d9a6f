"""Common behaviour of all commands: `--json`, `--debug`, errors, exit statuses and closed pipes."""

from __future__ import annotations

__all__ = ["CANCELLED", "FAILED", "Result", "command"]

import functools
import inspect
import json
import os
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from attn import progress
from attn.errors import AttnError, ConfigError
from attn.redaction import without_secrets
from attn.wording import escape_controls
from services.cli.surroundings import check_working_directory, fault_of_surroundings

if TYPE_CHECKING:
    from rich.console import Console

FAILED = 1
CANCELLED = 3

Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object, on the last line.")]
Debug = Annotated[bool, typer.Option("--debug", help="Print the traceback of an error.")]


@dataclass(frozen=True)
class Result:
    """A command's result.

    Attributes:
        data: The result as JSON values, for `--json`.
        show: Prints the result for people.
        status: Exit status.
    """

    data: dict[str, Any]
    show: Callable[[Console], None]
    status: int = 0


def command(body: Callable[..., Result | None]) -> Callable[..., None]:
    """Turn a function that returns a `Result` or raises into a Typer command with `--json` and `--debug`.

    An `AttnError` is printed as one message and exits with the error's status; Ctrl-C exits with 3; a fault of the
    machine (full disk, no permission) with 1; any other exception with 1 and its traceback. A group's callback returns
    None if one of its commands is to run.
    """

    @functools.wraps(body)
    def run(*args: Any, as_json: bool, debug: bool, **options: Any) -> None:
        try:
            check_working_directory()
            with progress.shown():
                result = body(*args, **options)
            if result is None:
                return
            _print(result, as_json)
            sys.stdout.flush()
        except AttnError as error:
            if debug:
                _print_traceback()
            _fail(str(error), _as_data(error), as_json)
            raise typer.Exit(error.exit_status) from None
        except KeyboardInterrupt as interruption:
            message = str(interruption) or f"cancelled; `{_typed()}` begins again"
            _fail(message, {"code": "cancelled", "message": message}, as_json, head="")
            raise typer.Exit(CANCELLED) from None
        except BrokenPipeError:
            # The reader has closed the pipe. The interpreter flushes again at exit, so give it a place to write.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None
        except typer.Exit:
            raise
        except Exception as error:
            if (fault := fault_of_surroundings(error)) is not None:
                if debug:
                    _print_traceback()
                _fail(str(fault), _as_data(fault), as_json)
                raise typer.Exit(fault.exit_status) from None
            _print_traceback()
            text = f"{type(error).__name__}: {error}"
            _fail(f"{text}\nThis is a bug in attn, not a fault of your input.", _as_data(error), as_json)
            raise typer.Exit(FAILED) from None
        raise typer.Exit(result.status)

    common = {"as_json": Json, "debug": Debug}
    signature = inspect.signature(body, eval_str=True)  # Typer needs evaluated annotations
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=annotation)
        for name, annotation in common.items()
    ]
    parameters = [*signature.parameters.values(), *added]
    cast("Any", run).__signature__ = signature.replace(parameters=parameters, return_annotation=None)
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _print(result: Result, as_json: bool) -> None:
    if as_json:
        print(json.dumps(result.data))
        return
    from services.cli.plain_console import PlainConsole

    result.show(PlainConsole())


def _as_data(error: Exception) -> dict[str, Any]:
    data: dict[str, Any] = {"code": getattr(error, "code", "unexpected"), "message": str(error)}
    if isinstance(error, ConfigError):
        data["faults"] = [{"where": f.where, "message": f.message, "hint": f.hint} for f in error.faults]
    return data


def _typed() -> str:
    """The command as the user typed it."""
    return shlex.join(["attn", *sys.argv[1:]])


def _fail(text: str, data: dict[str, Any], as_json: bool, *, head: str = "error: ") -> None:
    """Print an error without passwords of URIs."""
    from rich.console import Console
    from rich.text import Text

    text = escape_controls(without_secrets(text))
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(Text(head, style="bold red") + Text(text))
    if as_json:
        print(json.dumps({"error": _covered(data)}), flush=True)


def _covered(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _covered(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_covered(inner) for inner in value]
    return without_secrets(value) if isinstance(value, str) else value


def _print_traceback() -> None:
    import traceback

    print(without_secrets(traceback.format_exc()), end="", file=sys.stderr)
