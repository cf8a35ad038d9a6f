"""What the machine does not allow is one clear error or plain output, and never called a fault of the program."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from jobs import doctor
from services.cli import terminal
from services.cli.surroundings import fault_of_surroundings
from services.cli.tables import print_rows
from tests.bundles import tiny_bundle
from tests.services.cli.conftest import Attn
from tests.services.cli.test_exit_status import outcome_of_resume

__all__ = ["outcome_of_resume"]

SMALL = ["data.count=4", "data.size=32", "input.size=32"]


def is_one_error(done: Any, *words: str) -> None:
    assert done.status == 1, done.out
    assert done.err.count("error: ") == 1
    assert "Traceback" not in done.err
    assert "fault of the program" not in done.err
    for word in words:
        assert word in done.err


@pytest.mark.parametrize("command", [("recipes",), ("validate", "scenes_gain"), ("ls",), ("doctor",)])
def test_a_working_directory_that_is_gone(
    attn: Attn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    is_one_error(attn(*command), "the working directory cannot be used", "cd to one that exists")


def test_a_working_directory_that_cannot_be_written(
    attn: Attn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/sys")  # where nobody can make anything, root neither
    for command in (("recipes",), ("validate", "scenes_gain"), ("ls",), ("data", "check", "scenes_gain", *SMALL)):
        done = attn(*command)
        assert (done.status, "error" in done.err) == (0, False)
    is_one_error(attn("train", "scenes_gain", *SMALL), "/sys/runs: ", "choose another folder with --root")
    is_one_error(attn("train", "scenes_gain", *SMALL, "tracking.enabled=false"), "/sys/runs: ", "choose another folder")
    model, image = tiny_bundle(tmp_path / "model"), str(tmp_path / "model" / "x.png")
    from PIL import Image

    Image.new("RGB", (32, 32)).save(image)
    is_one_error(attn("predict", image, "--model", str(model)), "predictions/x/panel.png cannot be written: ")
    monkeypatch.setattr(doctor, "inspect_node", lambda _: None)
    monkeypatch.setattr(doctor, "judge", lambda _: [])
    results = {one["check"]: one for one in attn("doctor", "--json").json["findings"]}
    assert results["conditional writes"]["status"] == "fail"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "/r"), ["/r: Permission denied", "--root"]),
        (OSError(errno.ENOSPC, "No space left on device"), ["No space left on device", "free some"]),
        (OSError(errno.EMFILE, "Too many open files", "/r"), ["Too many open files"]),
        (FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/t']"), ["set TMPDIR"]),
        (RuntimeError("Could not determine home directory."), ["HOME is not set"]),
    ],
)
def test_it_is_told_in_words_and_shown_with_debug(
    attn: Attn, outcome_of_resume: Callable[[Any], None], error: Exception, words: list[str]
) -> None:
    outcome_of_resume(error)
    is_one_error(attn("resume", "r"), *words)
    assert attn("resume", "r", "--json").json["error"]["code"] == "surroundings"
    assert "Traceback" in attn("resume", "r", "--debug").err


def test_no_folder_for_temporary_files(monkeypatch: pytest.MonkeyPatch) -> None:
    import tempfile

    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/no/such/folder"])
    monkeypatch.setattr(tempfile, "tempdir", None)
    with pytest.raises(FileNotFoundError) as caught:
        tempfile.mkdtemp()
    assert "set TMPDIR" in str(fault_of_surroundings(caught.value))


def test_a_fault_of_the_program_stays_one() -> None:
    for error in (FileNotFoundError(errno.ENOENT, "No such file or directory", "/x"), OSError("odd"), ValueError("x")):
        assert fault_of_surroundings(error) is None


def test_a_name_that_is_no_text() -> None:
    with pytest.raises(UnicodeEncodeError) as caught:
        os.fsdecode(b"b\xe4r.jpg").encode()
    assert str(fault_of_surroundings(caught.value)).startswith(r"'b\\udce4r.jpg' is not valid UTF-8")


def plain(show: Callable[[Console], None], monkeypatch: pytest.MonkeyPatch) -> bytes:
    """What a terminal gets that knows ASCII only."""
    out = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out, encoding="ascii"))
    terminal.replace_unencodable()
    show(Console(highlight=False, soft_wrap=True))
    sys.stdout.flush()
    return out.getvalue()


def test_a_terminal_without_our_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    def show(console: Console) -> None:
        print_rows(console, [("grid", "14×14 → 28×28 …"), ("bär", os.fsdecode(b"b\xe4r.jpg"))])
        table = Table("σ")
        table.add_row("0.5")
        console.print(table)

    text = plain(show, monkeypatch)
    assert text.startswith(b"grid  14x14 -> 28x28 ...\nb\\xe4r   b\xe4r.jpg\n")
    assert b"\\u03c3" in text
    assert b"+" in text
    assert b"\\u25" not in text  # Rich draws its boxes by signs that there are


def test_commands_on_such_a_terminal(tmp_path: Path) -> None:
    ascii_only = {"LANG": "C", "LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
    for command, words in (
        (("ls", "--root", f"{tmp_path}/größe×"), rb"gr\xf6\xdfex"),
        (("recipes", "show", "größe"), rb"gr\xf6\xdfe"),
    ):
        call = [sys.executable, "-c", "from services.cli.main import main; main()", *command]
        done = subprocess.run(call, capture_output=True, env=os.environ | ascii_only, check=False)
        assert words in done.stdout + done.stderr
        assert b"Traceback" not in done.stderr
