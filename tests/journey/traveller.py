"""Somebody who has the documents and photographs of their own, and types commands."""

from __future__ import annotations

__all__ = ["Outcome", "Traveller"]

import contextlib
import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.cli.main import main
from tests.environment import without_ray
from tests.journey.documented import dotted, fields_of_file, fields_of_snippets, undocumented

PROGRAM = [sys.executable, "-c", "from services.cli.main import main; main()"]
LINES = 12
"""So many last lines are what a person sees without scrolling."""


@dataclass(frozen=True)
class Outcome:
    """How a command ended.

    Attributes:
        said: What it printed, messages included.
    """

    status: int
    said: str

    @property
    def end(self) -> str:
        return "\n".join(self.said.rstrip().splitlines()[-LINES:])


@dataclass
class Traveller:
    """Types commands in a folder, without `root=` and without a word that no page has.

    Attributes:
        folder: Where they are; runs are in `runs` below it.
        known: Fields that they have read in files of `attn init`.
        typed: The commands so far, with their outcomes.
    """

    folder: Path
    known: set[str] = field(default_factory=set)
    typed: list[tuple[str, Outcome]] = field(default_factory=list)

    def attn(self, line: str, *, status: int = 0, shows: str = "") -> str:
        """Run a command in this process, which has the imports already.

        Args:
            status: How it ends.
            shows: A pattern that its last lines match.

        Returns:
            All that it printed.
        """
        words = shlex.split(line)
        self.look_up(words)
        out = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True)
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            patch.setattr(sys, "argv", ["attn", *words])
            with pytest.raises(SystemExit) as ended:
                main()
        out.seek(0)
        return self.end(line, Outcome(int(ended.value.code or 0), out.read()), status, shows)

    @contextlib.contextmanager
    def beside(self, line: str) -> Iterator[subprocess.Popen[str]]:
        """Run a command in a process of its own, which is ended where it still runs at the end."""
        words = shlex.split(line)
        self.look_up(words)
        with subprocess.Popen(
            [*PROGRAM, *words],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=without_ray(),
            start_new_session=True,
        ) as process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.kill()

    def interrupt(self, line: str, process: subprocess.Popen[str], *, status: int, shows: str) -> str:
        """Press Ctrl-C while a command runs."""
        os.killpg(process.pid, signal.SIGINT)
        said, _ = process.communicate(timeout=120)
        return self.end(line, Outcome(process.returncode, said), status, shows)

    def look_up(self, words: list[str]) -> None:
        missing = undocumented(words, self.known)
        assert not missing, f"`attn {shlex.join(words)}`: no page has {missing}"

    def end(self, line: str, outcome: Outcome, status: int, shows: str) -> str:
        self.typed.append((line, outcome))
        print(f"$ attn {line}\n{outcome.end}\n[{outcome.status}]", flush=True)
        assert outcome.status == status, f"`attn {line}` ended with {outcome.status}, not {status}:\n{outcome.said}"
        assert re.search(shows, outcome.end), f"`attn {line}` does not end with {shows!r}:\n{outcome.said}"
        assert "Traceback" not in outcome.said, f"`attn {line}`:\n{outcome.said}"
        return outcome.said

    def init(self, recipe: str, file: str, *own: str, then: str = "") -> None:
        """Let `attn init` write a file, and read in it which fields there are; then write it with these changed.

        Args:
            own: What the recipe cannot know, such as `data.root=photos`.
            then: Fields to change, as overrides.
        """
        self.attn(shlex.join(["init", recipe, file, *own]), shows=f"next: attn data check {file}")
        self.known |= fields_of_file(self.folder / file)
        (self.folder / file).unlink()
        self.attn(f"{shlex.join(['init', recipe, file, *own])} {then}", shows=f"next: attn data check {file}")

    def write(self, file: str, text: str, section: str = "") -> None:
        """Write a YAML file by the example of a page, whose fields it may have and those of known files.

        Args:
            section: The file holds this section alone.
        """
        fields = set(dotted(yaml.safe_load(text), f"{section}." if section else ""))
        missing = sorted(fields - fields_of_snippets() - self.known)
        assert not missing, f"{file}: no snippet has {missing}"
        (self.folder / file).write_text(text, encoding="utf-8")

    def run(self, name: str) -> dict[str, Any]:
        """What a run's folder says of it."""
        return json.loads((self.folder / "runs" / name / "run.json").read_text())

    def until(self, process: subprocess.Popen[str], file: str, seconds: float = 180) -> None:
        """Wait for a file that a process writes."""
        end = time.monotonic() + seconds
        while not list(self.folder.glob(file)):
            assert process.poll() is None, process.stdout.read() if process.stdout else ""
            assert time.monotonic() < end, f"no {file} after {seconds} s"
            time.sleep(0.05)
