"""A misspelt name of a file has the nearest one that is there, wherever a user gives one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from attn.data.sources import CocoConfig, FolderConfig, ManifestConfig, SourceConfig, VocConfig
from attn.errors import ConfigError, DataError, WeightsError
from attn.files.nearest import missing_path, nearest_file
from attn.files.roots import ROOTS_VARIABLE, limit_reading
from attn.models.weights import read_weights
from attn.runs.recipes import load_any_config


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with files and folders of all kinds that configs name."""
    for name in ("photos.yaml", "photos.csv", "my.yaml", "lists/trainval.txt", "net.pt", "photos/train/cat/1.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "JPEGImages").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("given", "near"),
    [
        ("photos.yml", "photos.yaml"),
        ("Photos.yaml", "photos.yaml"),
        ("photo.csv", "photos.csv"),
        ("./photos.cvs", "./photos.csv"),
        ("foto/train", None),
        ("photo/train", "photos/train"),
        ("photos/trian", "photos/train"),
        ("nothing.like", None),
        ("s3://bucket/photos.yml", None),
        ("photos.yml\0", None),
        ("", None),
        ("/", None),
    ],
)
def test_the_nearest_name(here: Path, given: str, near: str | None) -> None:
    assert nearest_file(given) == near


def test_nothing_is_named_where_the_service_may_not_read(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ROOTS_VARIABLE, "")
    limit_reading([str(here / "lists")])
    assert nearest_file(str(here / "photos.yml")) is None
    assert nearest_file(str(here / "lists/trainval")) == str(here / "lists/trainval.txt")


@pytest.mark.parametrize(
    ("target", "overrides", "near"),
    [
        ("scenes_gain", ["data=photos.yml"], "photos.yaml"),
        ("scenes_gain", ["recipe=my.yml"], "my.yaml"),
        ("my.yml", [], "my.yaml"),
        ("my", [], "my.yaml"),
    ],
)
def test_files_of_configs(here: Path, target: str, overrides: list[str], near: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load_any_config(target, overrides)
    (fault,) = raised.value.faults
    assert fault.hint.startswith(f"did you mean {near}?")


@pytest.mark.parametrize(
    ("config", "near"),
    [
        (lambda: ManifestConfig(manifest="photo.csv"), "photos.csv"),
        (lambda: FolderConfig(root="photo"), "photos"),
        (lambda: FolderConfig(root="photos", masks="trian"), "photos/train"),
        (lambda: VocConfig(root=".", split="lists/trainvall.txt"), "lists/trainval.txt"),
        (lambda: CocoConfig(root=".", annotations="lists/trainval.json"), "lists/trainval.txt"),
    ],
)
def test_files_of_data(here: Path, config: Callable[[], SourceConfig], near: str) -> None:
    with pytest.raises(DataError, match=f"did you mean {here / near}\\?"):
        config().build()


def test_weights(here: Path) -> None:
    with pytest.raises(WeightsError, match=f"did you mean {here}/net.pt\\?"):
        read_weights(f"{here}/nett.pt", None)
    (fault,) = missing_path("model.weights", f"{here}/net.pth")
    assert fault.hint == f"did you mean {here}/net.pt? correct the path"
