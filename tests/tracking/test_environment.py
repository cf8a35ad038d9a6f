"""The packages that a run's folder names are those that Python itself finds."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from attn.tracking.environment import environment, frozen_requirements, installed

DESCRIPTION = "\n\nA page that says\nName: other\nVersion: 9\n"


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of packages, the only one that is searched."""
    monkeypatch.setattr(sys, "path", [str(tmp_path / "first"), str(tmp_path / "second")])
    installed.cache_clear()
    yield tmp_path
    installed.cache_clear()


def add(folder: Path, text: str | None, file: str = "METADATA") -> None:
    folder.mkdir(parents=True)
    if text is not None:
        (folder / file).write_text(text)


def test_they_are_those_of_importlib() -> None:
    installed.cache_clear()
    expected = {
        one.metadata["Name"].lower().replace("_", "-"): one.version for one in importlib.metadata.distributions()
    }
    assert dict(pin.split("==") for pin in frozen_requirements()) == {
        name: version for name, version in expected.items() if name != "attn"
    }
    assert environment()["packages"]["torch"] == importlib.metadata.version("torch")
    assert environment()["packages"]["scikit-learn"] == importlib.metadata.version("scikit-learn")


def test_headers_alone_are_read_and_the_first_of_a_name_counts(packages: Path) -> None:
    add(
        packages / "first/A_b-1.dist-info",
        f"Metadata-Version: 2.1\nName: A_b\nVersion: 1+cu128\nClassifier: x{DESCRIPTION}",
    )
    add(packages / "second/a_b-2.dist-info", "Name: a-b\nVersion: 2\n")
    add(packages / "second/old.egg-info", "Name: Old\r\nVersion:  3.0 \r\n", "PKG-INFO")
    add(packages / "second/attn-1.dist-info", "Name: attn\nVersion: 1\n")
    add(packages / "second/half-1.dist-info", "Name: half\n\nVersion: 1\n")
    add(packages / "second/empty-1.dist-info", None)
    assert frozen_requirements() == ["a-b==1+cu128", "old==3.0"]
