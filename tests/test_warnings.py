"""Warnings that our own calls cause are errors in every process that a test starts; those of others are not."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import warnings

import pytest

OURS = ("attn.training.trainer", "jobs.train", "services.jobs", "tests.leaks")


def use_what_is_deprecated(module: str) -> None:
    """What a library does that a function of this module calls."""
    warnings.warn_explicit("'x' is deprecated", FutureWarning, "x.py", 1, module=module)


@pytest.mark.parametrize("module", OURS)
def test_in_a_program(module: str) -> None:
    done = _program(module)
    assert done.returncode == 1
    assert "FutureWarning: 'x' is deprecated" in done.stderr


@pytest.mark.parametrize("module", ["ray.train", "attnbn"])
def test_what_others_say_of_themselves_stops_nothing(module: str) -> None:
    assert _program(module).returncode == 0


def test_in_a_spawned_process() -> None:
    process = multiprocessing.get_context("spawn").Process(target=use_what_is_deprecated, args=(OURS[0],))
    process.start()
    process.join()
    assert process.exitcode == 1


def _program(module: str) -> subprocess.CompletedProcess[str]:
    code = f"import warnings; warnings.warn_explicit(\"'x' is deprecated\", FutureWarning, 'x.py', 1, {module!r})"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
