"""The wheel and the source distribution: what is in them, and that what is installed of them runs by itself."""

from __future__ import annotations

import email
import json
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from packaging.specifiers import SpecifierSet
from packaging.version import Version

import attn
from attn.own_code import code_files
from tests.environment import without_ray

PACKAGES = ("attn", "jobs", "services")


@dataclass(frozen=True)
class Built:
    """The two files of a release."""

    sdist: Path
    wheel: Path

    @property
    def sdist_files(self) -> set[str]:
        with tarfile.open(self.sdist) as archive:
            return {name.partition("/")[2] for name in archive.getnames()}

    @property
    def wheel_files(self) -> set[str]:
        with zipfile.ZipFile(self.wheel) as archive:
            return set(archive.namelist())


def build(source: Path, target: Path, *kinds: str) -> Built:
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(target)]
    chosen = [word for kind in kinds for word in ("--target", kind)]
    subprocess.run([*command, *chosen], cwd=source, check=True, capture_output=True, text=True)
    return Built(*(next(target.glob(pattern), Path()) for pattern in ("*.tar.gz", "*.whl")))


@pytest.fixture(scope="module")
def built(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build(repository, tmp_path_factory.mktemp("dist"), "sdist", "wheel")


@pytest.fixture(scope="module")
def installed(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of an environment that has the wheel, and by a path file this one's other packages.

    A path file in another environment is not read from there, so that the checkout is not found.
    """
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    programs = folder / "bin"
    installing = [sys.executable, "-m", "pip", "--python", str(programs / "python"), "install"]
    subprocess.run(
        [*installing, "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check", str(built.wheel)], check=True
    )
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return programs


def run(program: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = without_ray()
    environment.pop("PYTHONPATH", None)
    environment |= {"PATH": f"{program.parent}{os.pathsep}{environment['PATH']}", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [program, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=500
    )


def test_the_wheel_has_every_file_of_its_packages_and_no_other(repository: Path, built: Built) -> None:
    listed = subprocess.run(["git", "ls-files", "-z", "--", *PACKAGES], cwd=repository, capture_output=True, check=True)
    tracked = {name for name in listed.stdout.decode().split("\0") if (repository / name).is_file()}
    results = {name for name in built.wheel_files if not name.startswith(f"attn-{attn.__version__}.dist-info/")}
    assert tracked <= results
    assert results == set(code_files(repository))
    assert {name.partition("/")[0] for name in results} == set(PACKAGES)
    assert {f"{package}/py.typed" for package in PACKAGES} <= results
    assert f"attn-{attn.__version__}.dist-info/licenses/LICENSE" in built.wheel_files


def test_the_wheel_says_what_it_is(repository: Path, built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        said = email.message_from_bytes(archive.read(name))
    assert (said["Name"], said["Version"]) == ("attn", attn.__version__)
    assert (said["License-Expression"], said.get_all("License-File")) == ("Apache-2.0", ["LICENSE"])
    assert said["Author"] == "attn developers"
    wanted = tomllib.loads((repository / "pyproject.toml").read_text())["project"]["requires-python"]
    assert SpecifierSet(said["Requires-Python"]) == SpecifierSet(wanted)
    assert "Programming Language :: Python :: 3.11" in said.get_all("Classifier", [])


def test_the_source_distribution_builds_the_same_wheel_whatever_else_lies_there(built: Built, tmp_path: Path) -> None:
    some = [
        "tests/conftest.py",
        "docs/images/demo.png",
        "docs/data.md",
        "benchmarks/__init__.py",
        "requirements-dev.txt",
    ]
    some += ["LICENSE", "CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "SECURITY.md", "Makefile"]
    for name in (*some, "deploy/kuberay/rayjob.yaml"):
        assert name in built.sdist_files
    assert not any(name.startswith((".venv", "runs/", ".git/")) for name in built.sdist_files)
    with tarfile.open(built.sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    for name in ("services/credentials.json", "services/secret", "services/secrets.yaml", "attn/.cache/gain.py"):
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_text("password")
    again = build(source, tmp_path / "dist", "wheel")
    assert again.wheel.read_bytes() == built.wheel.read_bytes()


@pytest.mark.slow
def test_what_is_installed_trains_outside_of_the_checkout(repository: Path, installed: Path, tmp_path: Path) -> None:
    code = "import attn, jobs, services; print(*(package.__file__ for package in (attn, jobs, services)))"
    places = run(installed / "python", "-c", code, cwd=tmp_path).stdout.split()
    assert len(places) == 3
    assert all(Path(location).is_relative_to(installed.parent) for location in places), places
    assert run(installed / "attn", "--version", cwd=tmp_path).stdout == f"attn {attn.__version__}\n"
    recipes = json.loads(run(installed / "attn", "recipes", "--json", cwd=tmp_path).stdout)["recipes"]
    assert {(recipe["group"], recipe["name"]) for recipe in recipes} == {
        (path.parent.name, path.stem) for path in (repository / "jobs/recipes").rglob("*.yaml")
    }
    small = ["data.count=16", "data.size=32", "input.size=32", "training.epochs=1", "training.batch_size=8"]
    done = run(
        installed / "attn", "train", "scenes_grad_cam", *small, "cluster.workers=1", "tracking.enabled=false",
        "--run-id", "first", "--json", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs/first/model/state_dict.pt").is_file()
    assert "val/mean_ap" in json.loads(done.stdout.splitlines()[-1])["metrics"]


def test_bash_completes_commands_options_and_recipes(installed: Path, tmp_path: Path) -> None:
    typed = {
        "attn tra": {"train"},
        "attn segment predict --voc": {"--voc-submission"},
        "attn train scenes_ga": {"scenes_gain", "scenes_gain_ext"},
        "attn segment seg": {"segment_scenes"},
        "attn sweep sweep_s": {"sweep_scenes_gain"},
    }
    lines = ['eval "$(_ATTN_COMPLETE=source_bash attn)"', "complete -p attn >&2"]
    for text in typed:
        words = text.split()
        lines += [
            f"COMP_WORDS=({' '.join(words)}) COMP_CWORD={len(words) - 1} COMPREPLY=()",
            f"_attn_completion attn {words[-1]} {words[-2]}",
            'echo "${COMPREPLY[@]}"',
        ]
    (tmp_path / "complete.sh").write_text("\n".join(lines))
    environment = {"PATH": f"{installed}{os.pathsep}{os.environ['PATH']}", "HOME": str(tmp_path)}
    command = ["bash", str(tmp_path / "complete.sh")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "-F _attn_completion" in done.stderr
    assert [set(line.split()) for line in done.stdout.splitlines()] == list(typed.values())


def test_the_images_tag_is_the_release_that_the_version_leads_to(repository: Path) -> None:
    version = Version(attn.__version__)
    for name in ("Dockerfile", "ray_cluster.yaml", "deploy/ray_cluster_local.yaml", "deploy/kuberay/raycluster.yaml",
                 "deploy/kuberay/rayjob.yaml", "docs/cluster.md"):  # fmt: skip
        tags = set(re.findall(r"\battn:(\d[\w.]*)", (repository / name).read_text()))
        assert tags == {version.base_version}, name


def test_the_changelog_has_a_section_of_the_version(repository: Path) -> None:
    text = (repository / "CHANGELOG.md").read_text()
    headings = re.findall(r"^## \[(.+?)\](?: - (\d{4}-\d\d-\d\d))?$", text, re.MULTILINE)
    assert headings[0] == ("Unreleased", "")
    releases = [Version(name) for name, _ in headings[1:]]
    assert releases == sorted(releases, reverse=True)
    assert all(date for _, date in headings[1:])
    version = Version(attn.__version__)
    assert version > releases[0] if version.is_devrelease else version == releases[0]
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.+)$", text, re.MULTILINE)) <= kinds


def test_the_citation_names_the_papers(repository: Path) -> None:
    cited = yaml.safe_load((repository / "CITATION.cff").read_text())
    assert cited["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= cited.keys()
    assert cited["license"] == "Apache-2.0"
    titles = {one["title"] for one in cited["references"]}
    assert len(titles) == 4
    for one in cited["references"]:
        assert one["type"] == "conference-paper"
        assert all({"family-names", "given-names"} <= author.keys() for author in one["authors"])
