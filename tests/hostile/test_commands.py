"""Commands with wrong places, models and fields: one error each. `benchmarks/hostile.py` runs the whole table."""

from __future__ import annotations

from pathlib import Path

import pytest

from attn.errors import DataError
from attn.files.locations import join, split
from jobs.runs.run_folder import RunFolder
from tests.hostile.commands import COMMANDS, fields, prepare
from tests.services.cli.conftest import Attn
from tests.services.cli.conftest import attn as attn  # the command line as a function

QUICK = [
    name
    for name in COMMANDS
    if name.startswith(("store show", "predict into", "store export of", "version")) or "root without" in name
]


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return prepare(tmp_path_factory.mktemp("places"))


@pytest.mark.parametrize("name", QUICK)
def test_a_wrong_place_is_one_error(
    attn: Attn, places: dict[str, str], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = list(COMMANDS[name])
    for location, path in places.items():
        words = [word.replace(f"{{{location}}}", path) for word in words]
    done = attn(*words)
    assert done.status in (1, 2), done.out
    assert done.err.strip()
    assert "Traceback" not in done.err
    assert "This is a bug in attn" not in done.err
    assert not list(tmp_path.iterdir()), "what was to go elsewhere went here"


def test_fields_of_any_value_are_answers_or_one_error(attn: Attn) -> None:
    for words in fields(1, 12).values():
        done = attn(*words)
        assert done.status in (0, 2), done.err
        assert "Traceback" not in done.err


@pytest.mark.parametrize("root", ["s3://", "s3:///", "s3:///a"])
def test_an_object_store_without_a_bucket_is_no_folder_of_this_machine(root: str) -> None:
    with pytest.raises(DataError, match="has no bucket"):
        split(join(root, "a"))
    with pytest.raises(DataError, match="has no bucket"):
        RunFolder(root, "a")
