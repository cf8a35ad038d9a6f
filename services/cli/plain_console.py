"""The console of all commands: texts of others, such as class names and messages, are shown as they are."""

from __future__ import annotations

__all__ = ["PlainConsole"]

from typing import Any

from rich.console import Console
from rich.text import Text

from attn.wording import escape_controls


class PlainConsole(Console):
    """A console without markup and emoji codes in texts, also in those of tables; control characters are escaped."""

    def __init__(self) -> None:
        super().__init__(highlight=False, soft_wrap=True, markup=False, emoji=False)

    def render_str(self, text: str, **options: Any) -> Text:
        plain: dict[str, Any] = {**options, "markup": False, "emoji": False}
        return super().render_str(escape_controls(text), **plain)

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError  # Rich itself would exit with 1
