"""Commands as the real command line parses them."""

from __future__ import annotations

__all__ = ["PROGRAM", "parsed"]

from typing import Any

import typer

from services.cli.main import app

PROGRAM: Any = typer.main.get_command(app)


def parsed(arguments: list[str]) -> tuple[str, dict[str, Any]]:
    """The command that arguments lead to (`segment predict`), and what it is given."""
    assert "--install-completion" not in arguments, "this would change the shell of whoever runs the tests"
    command, names, context, rest = PROGRAM, [], None, arguments
    while True:
        context = command.make_context(names[-1] if names else "attn", list(rest), parent=context)
        rest = [*getattr(context, "_protected_args", []), *context.args]
        if not rest or not hasattr(command, "resolve_command"):
            return " ".join(names), context.params
        name, command, rest = command.resolve_command(context, rest)
        names.append(name)
