"""Which packages run, and what is in them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from attn.own_code import code_digest, code_files, code_folder, other_code_folder, shadowing


def make_packages(folder: Path) -> Path:
    """Small packages of the three names, and files beside the code."""
    files = {
        "attn/__init__.py": "",
        "attn/methods/gain.py": "a = 1\n",
        "jobs/recipes/gain.yaml": "kind: train\n",
        "services/__init__.py": "",
        "jobs/__init__.py": "",
        "services/pages/templates/runs.html": "<p>",
        "services/pages/static/page.css": "p {}",
        "services/pages/static/live.js": "1",
        "services/pages/static/icon.svg": "<svg/>",
        "services/pages/static/.live.js.swp": "an editor's",
        "services/pages/static/notes.txt": "somebody's",
        "services/index.html": "somebody's",
        "services/__pycache__/x.cpython-311.pyc": "compiled",
        "attn/.gain.py.swp": "an editor's",
        "jobs/.cache/entry.py": "hidden",
        "services/credentials.json": "a secret",
        "services/secrets.yaml": "a secret",
        "jobs/runs/r1/checkpoint.pt": "weights",
        "attn/py.typed": "",
        "tests/test_gain.py": "a test",
    }
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_only_what_a_wheel_holds_counts(tmp_path: Path) -> None:
    files = code_files(make_packages(tmp_path))
    assert set(files) == {
        "attn/__init__.py", "attn/methods/gain.py", "attn/py.typed", "jobs/__init__.py", "jobs/recipes/gain.yaml",
        "services/__init__.py", "services/pages/templates/runs.html", "services/pages/static/page.css",
        "services/pages/static/live.js", "services/pages/static/icon.svg",
    }  # fmt: skip
    assert all(path == tmp_path / name for name, path in files.items())


def test_links_that_lead_out_of_a_package_are_left_out(tmp_path: Path) -> None:
    checkout = make_packages(tmp_path / "checkout")
    names = set(code_files(checkout))
    (tmp_path / "secret.py").write_text("password = 1\n")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "secret.py").touch()
    for name, target in {
        "secret.py": tmp_path / "secret.py",
        "beside.py": Path("../jobs/recipes/gain.yaml"),
        "broken.py": tmp_path / "missing.py",
        "loop.py": Path("loop.py"),
        "more": tmp_path / "more",
        "alias.py": Path("methods/gain.py"),
    }.items():
        (checkout / "attn" / name).symlink_to(target)
    os.mkfifo(checkout / "attn" / "pipe.py")
    assert set(code_files(checkout)) == names | {"attn/alias.py"}
    assert code_digest(checkout) != code_digest(make_packages(tmp_path / "plain"))  # the alias counts by its content


def test_packages_of_which_an_installer_links_each_file_are_whole(tmp_path: Path) -> None:
    cache, installed = make_packages(tmp_path / "cache"), tmp_path / "installed"
    for name, path in code_files(cache).items():
        (installed / name).parent.mkdir(parents=True, exist_ok=True)
        (installed / name).symlink_to(path)
    (installed / "attn" / "secret.py").symlink_to(tmp_path / "secret.py")
    (tmp_path / "secret.py").touch()
    assert code_digest(installed) == code_digest(cache)


def test_equal_code_has_one_digest_wherever_it_lies(tmp_path: Path) -> None:
    one, other = make_packages(tmp_path / "checkout"), make_packages(tmp_path / "installed")
    shutil.rmtree(other / "services/__pycache__")
    (other / "attn/__init__.py").touch()
    digest = code_digest(one)
    assert code_digest(other) == digest
    (other / "jobs/recipes/gain.yaml").write_text("kind: sweep\n")
    assert code_digest(other) != digest  # a recipe is code
    (other / "jobs/recipes/gain.yaml").rename(other / "jobs/recipes/gain2.yaml")
    (other / "jobs/recipes/gain2.yaml").write_text("kind: train\n")
    assert code_digest(other) != digest  # so is a name


def test_the_code_that_would_run_else_is_what_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_packages(tmp_path)
    ours = str(code_folder())
    monkeypatch.setattr(sys, "path", [ours, str(tmp_path)])
    assert other_code_folder() == tmp_path
    monkeypatch.setattr(sys, "path", [ours])
    assert other_code_folder() is None


def test_a_folder_of_the_same_name_that_is_no_package_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    places = [str(tmp_path), str(code_folder())]
    assert shadowing(places) is None
    (tmp_path / "jobs.py").touch()
    assert shadowing(places) == tmp_path / "jobs.py"
    assert shadowing(places[::-1]) is None


@pytest.mark.parametrize("name", ["jobs", "services"])
def test_the_program_says_so_where_another_package_comes_first(name: str, tmp_path: Path) -> None:
    package = tmp_path / "mine" / name
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('it is not even imported')")
    path = os.pathsep.join([str(package.parent), str(code_folder())])
    done = subprocess.run(
        [sys.executable, "-P", "-m", "attn", "--version"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: Python finds another package {name!r} than attn's, in {package}")
    assert len(done.stderr.splitlines()) == 1
