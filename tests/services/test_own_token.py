"""The token that a service makes for its own user: nobody else can read it, and nobody else has put it there."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from attn.errors import RunError
from services.own_token import claim_state_dir, own_token

GOOD = "a" * 43


def test_it_is_made_once_for_its_user_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        tokens = [own_token(tmp_path / "token") for _ in range(2)]
    finally:
        os.umask(before)
    assert tokens[0] == tokens[1] != own_token(tmp_path / "another")
    result = (tmp_path / "token").stat()
    assert (stat.S_IMODE(result.st_mode), result.st_uid) == (0o600, os.geteuid())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["another", "token"]


def written(text: str, mode: int = 0o600) -> Callable[[Path], None]:
    def make(file: Path) -> None:
        file.write_text(text)
        file.chmod(mode)

    return make


def link(file: Path) -> None:
    written(GOOD)(file.with_name("elsewhere"))
    file.symlink_to("elsewhere")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (written(GOOD, 0o640), "can be read by others"),
        (written(GOOD, 0o604), "can be read by others"),
        (written(GOOD, 0o622), "can be read by others"),
        (written(""), "contains no valid token"),
        (written("short"), "contains no valid token"),
        (written(GOOD + "\n" + GOOD), "contains no valid token"),
        (written("ä" * 43), "contains no valid token"),
        (link, "cannot be used"),
        (lambda file: file.symlink_to("absent"), "cannot be used"),
        (lambda file: os.mkfifo(file, 0o600), "belongs to another user"),
        (lambda file: file.mkdir(), "cannot be used"),
    ],
)
def test_what_others_may_have_made_is_refused(tmp_path: Path, make: Callable[[Path], None], words: str) -> None:
    make(tmp_path / "token")
    with pytest.raises(RunError, match=words) as refused:
        own_token(tmp_path / "token")
    assert GOOD not in str(refused.value)


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="token file /proc/token cannot be used: .*--no-token"):
        own_token(Path("/proc/token"))
    with pytest.raises(RunError, match="cannot be used: .*choose another --root"):
        claim_state_dir(Path("/proc/.service"))
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot be used"):
        claim_state_dir(tmp_path / "file")


def test_the_folder_is_closed_to_others(tmp_path: Path) -> None:
    for name, mode in (("new", None), ("open", 0o777), ("shared", 0o755)):
        home = tmp_path / name
        if mode is not None:
            home.mkdir()
            home.chmod(mode)
        claim_state_dir(home)
        assert stat.S_IMODE(home.stat().st_mode) == 0o700


def test_what_another_user_owns_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "token"
    written(GOOD)(file)
    owner = os.geteuid()
    monkeypatch.setattr("os.geteuid", lambda: owner + 1)  # the service runs as another user than who made them
    with pytest.raises(RunError, match="belongs to another user"):
        own_token(file)
    with pytest.raises(RunError, match=f"belongs to user {owner}"):
        claim_state_dir(tmp_path)
