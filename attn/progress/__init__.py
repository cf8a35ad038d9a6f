"""Progress of long work: code reports it here, and whoever started the program decides whether and how it is shown.

As a library `attn` shows nothing. The command line and the jobs of the service show bars or plain lines on standard
error; so does your own program with

    from attn import progress

    with progress.shown():
        ...
"""

from __future__ import annotations

__all__ = ["QUIET_SECONDS", "Task", "View", "is_shown", "opening", "reading", "say", "shown", "steps_of", "task"]

from attn.progress.task import Task
from attn.progress.view import QUIET_SECONDS, View, is_shown, opening, reading, say, shown, steps_of, task
