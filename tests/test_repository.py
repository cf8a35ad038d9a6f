"""What must hold for the repository as a whole: who imports whom, what is pinned, what files promise."""

from __future__ import annotations

import ast
import copy
import os
import re
import shutil
import subprocess
import tokenize
import tomllib
from collections.abc import Container, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.dockerfile import instructions

PACKAGES = ("attn", "jobs", "services")
LONGEST = 400
CI_STEPS = ["install-radosgw", "install-chromium", "make setup", "make lint", "make docs", "make test", "as-a-stranger"]

# From the lowest layer up. A module belongs to the longest name here that it has or that it lies in. It may import from
# its own package and from lower layers, anywhere in the file. `attn` is for all modules directly in that package.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("attn",),
    ("attn.config",),
    ("attn.files",),
    ("attn.store",),
    ("attn.data",),
    ("attn.saliency",),
    ("attn.models",),
    ("attn.maps",),
    ("attn.losses",),
    ("attn.evaluation",),
    ("attn.pictures",),
    ("attn.methods",),
    ("attn.health",),
    ("attn.tracking",),
    ("attn.training",),
    ("attn.segmentation",),
    ("attn.prediction",),
    ("attn.annotations",),
    ("attn.registry",),
    ("attn.trained_model",),
    ("attn.runs",),
    ("jobs.runs",),
    ("jobs.ray_cluster",),
    ("jobs.scoring",),
    ("jobs.growth", "jobs.image_predictions", "jobs.map_tasks", "jobs.mask_prediction", "jobs.refined_maps"),
    ("jobs.training",),
    ("jobs.train", "jobs.cues", "jobs.evaluate", "jobs.maps", "jobs.segment_predict"),
    ("jobs.segment",),
    ("jobs.stages",),
    ("jobs.pipeline",),
    ("jobs.sweeps",),
    ("jobs.sweep", "jobs.compare"),
    ("jobs",),
    ("services.calls", "services.submission", "services.permissions", "services.output_redaction"),
    ("services",),
    ("services.cli",),
)


def tracked(root: Path, *patterns: str) -> list[Path]:
    """The files that a clone has."""
    listed = subprocess.run(["git", "ls-files", "-z", *patterns], cwd=root, capture_output=True, check=True).stdout
    return [path for name in listed.decode().split("\0") if name and (path := root / name).is_file()]


def imports(path: Path, *, lazy: bool) -> Iterator[str]:
    """The modules that a file imports when it runs; with `lazy` also those inside functions."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    stack: list[ast.AST] = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
        for_types = isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        if not for_types and (lazy or not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))):
            stack += ast.iter_child_nodes(node)


def package(module: str) -> str:
    """The name in front of the first dot."""
    return module.partition(".")[0]


def layer(module: str) -> int:
    """The layer of a module: that of the longest name in LAYERS that it is, or lies in."""
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        name = ".".join(parts[:length])
        for number, names in enumerate(LAYERS):
            if name in names:
                return number
    raise AssertionError(f"{module} is in no package of LAYERS")


def modules_of(root: Path) -> dict[str, Path]:
    """Every module of the three packages by its name."""
    results: dict[str, Path] = {}
    for path in tracked(root, *(f"{package}/*.py" for package in PACKAGES)):
        name = ".".join(path.relative_to(root).with_suffix("").parts)
        results[name.removesuffix(".__init__")] = path
    return results


def used(path: Path, known: Container[str]) -> Iterator[str]:
    """The modules of ours that a file imports anywhere: inside functions and for types alone, too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                if full in known or node.module in known:
                    yield full if full in known else node.module


def test_no_import_goes_up(repository: Path) -> None:
    """Packages of one layer do not import each other, so no packages import each other in a circle."""
    modules = modules_of(repository)
    upward = sorted(
        f"{name} (layer {layer(name)}) imports {other} (layer {layer(other)})"
        for name, path in modules.items()
        for other in used(path, modules)
        if (name, other) != ("attn", "attn.trained_model")  # `attn.open_model`, imported for types and on first use
        if layer(other) > layer(name) or (layer(other) == layer(name) and package_of(other) != package_of(name))
    )
    assert not upward, "\n".join(upward)


def package_of(module: str) -> str:
    names = LAYERS[layer(module)]
    return max((name for name in names if f"{module}.".startswith(f"{name}.")), key=len)


def test_every_listed_package_exists(repository: Path) -> None:
    modules = modules_of(repository)
    for name in (name for names in LAYERS for name in names):
        assert name in modules, f"LAYERS names {name}, which is not there"


def test_the_library_needs_neither_ray_nor_mlflow(repository: Path) -> None:
    for path in tracked(repository, "attn/*.py"):
        results = {package(name) for name in imports(path, lazy=True)}
        assert "ray" not in results, path
        assert "mlflow" not in results or path.stem.startswith("mlflow"), path
        assert "mlflow" not in {package(name) for name in imports(path, lazy=False)}, path


def test_only_the_crf_needs_the_package_that_not_every_python_has(repository: Path) -> None:
    named = [path for path in tracked(repository, "*.py") if "pydensecrf" in path.read_text(encoding="utf-8")]
    results = [path for path in named if "pydensecrf" in map(package, imports(path, lazy=True))]
    library = [path.name for path in results if path.relative_to(repository).parts[0] in PACKAGES]
    assert library == ["dense_crf.py"]
    assert not [path for path in results if "pydensecrf" in map(package, imports(path, lazy=False))]


def test_every_module_says_what_it_is_for(repository: Path) -> None:
    for path in tracked(repository, "*.py"):
        source = path.read_text(encoding="utf-8")
        kinds = (token.type for token in tokenize.generate_tokens(StringIO(source).readline))
        first = next(kind for kind in kinds if kind not in (tokenize.COMMENT, tokenize.NL))
        assert not source or first == tokenize.STRING, path
        assert len(source.splitlines()) <= LONGEST, f"{path}: split it"
        assert path.stem not in ("utils", "helpers", "misc", "common"), f"{path}: name it for what it holds"


def test_library_modules_name_what_they_export(repository: Path) -> None:
    for path in tracked(repository, "attn/*.py", "jobs/*.py", "services/*.py"):
        assert path.stem == "__init__" or "\n__all__ = [" in path.read_text(encoding="utf-8"), f"{path} has no __all__"


def test_no_file_holds_a_machines_path_or_a_secret(repository: Path) -> None:
    patterns = {
        "path": re.compile(r"(?<![\w.])/(?:work|root|Users|home/(?!attn\b|ubuntu\b)\w+)/"),
        "key": re.compile(r"AKIA[0-9A-Z]{16}|-----BEGIN [A-Z ]*PRIVATE KEY|(?i:password|secret)\s*[:=]\s*['\"]\w{8,}"),
    }
    for path in tracked(repository):
        if path.suffix in (".png", ".jpg", ".npz", ".pt", ".arrow") or path == Path(__file__):
            continue
        text = path.read_text(encoding="utf-8")
        for what, pattern in patterns.items():
            assert not (match := pattern.search(text)), f"{path}: {what} {match and match.group()!r}"


def lines_of(path: Path) -> list[str]:
    """A file's lines without comments and empty ones."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.lstrip().startswith("#")]


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_requirements_are_pinned_and_name_no_place(repository: Path, name: str) -> None:
    lines = lines_of(repository / name)
    assert lines
    for line in lines:
        assert re.fullmatch(r"[a-z0-9._-]+(\[[a-z0-9,_-]+\])?==[\w.+!-]+( ; .+)?", line), line


def test_requirements_satisfy_the_project(repository: Path) -> None:
    from packaging.requirements import Requirement

    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    development = lines_of(repository / "requirements-dev.txt")
    for line in lines_of(repository / "requirements.txt"):  # what some systems need to run, all may need to develop
        assert line in development or line.partition(" ; ")[0] in development, f"run `make lock`: {line}"
    versions = {pin.name: next(iter(pin.specifier)).version for pin in map(Requirement, development)}
    for text in project["dependencies"] + project["optional-dependencies"]["dev"]:
        wanted = Requirement(text)
        name = wanted.name.lower()
        assert name in versions, f"run `make lock`: {text} is not pinned"
        assert versions[name] in wanted.specifier, f"run `make lock`: {text}"


def test_the_python_versions_are_said_alike(repository: Path) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    ((first, after),) = re.findall(r"^>=3\.(\d+),<3\.(\d+)$", project["requires-python"])
    *others, last = (f"3.{minor}" for minor in range(int(first), int(after)))
    said = f"{', '.join(others)} or {last}"
    assert f"Requirements: Python {said}, " in (repository / "README.md").read_text()
    makefile = (repository / "Makefile").read_text()
    assert f"(3, {first}) <= sys.version_info < (3, {after})" in makefile
    assert f"Python {said} is needed" in makefile


def test_the_cluster_file_is_one_that_ray_accepts(repository: Path) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    cluster = yaml.safe_load((repository / "ray_cluster.yaml").read_text())
    validate_config(prepare_config(copy.deepcopy(cluster)))
    head = cluster["available_node_types"][cluster["head_node_type"]]
    assert head["resources"]["CPU"] == 0, "training must not take the head down"
    start = " ".join(cluster["head_start_ray_commands"])
    assert "--dashboard-host=127.0.0.1" in start
    assert "--env RAY_AUTH_MODE=token" in cluster["docker"]["run_options"]


def test_no_node_gets_the_machine_image_of_ray(repository: Path) -> None:
    """It is of 2022: its driver is for CUDA 11."""
    from ray.autoscaler._private.aws.config import DEFAULT_AMI, _check_ami

    cluster = yaml.safe_load((repository / "ray_cluster.yaml").read_text())
    _check_ami(cluster)
    images = {node_type["node_config"]["ImageId"] for node_type in cluster["available_node_types"].values()}
    assert len(images) == 1
    assert images.isdisjoint(DEFAULT_AMI.values())
    environment = " ".join(rest for word, rest in instructions(repository / "Dockerfile") if word == "ENV")
    assert {"NVIDIA_VISIBLE_DEVICES=all", "NVIDIA_DRIVER_CAPABILITIES=compute,utility"} <= set(environment.split())


@pytest.mark.parametrize("fault", [{"max_worker": 2}, {"head_node_type": "none"}, {"provider": {}}])
def test_the_cluster_check_finds_faults(repository: Path, fault: dict[str, Any]) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    cluster = yaml.safe_load((repository / "ray_cluster.yaml").read_text()) | fault
    with pytest.raises(Exception, match=r"(?s).+"):
        validate_config(prepare_config(cluster))


def test_the_image_is_pinned_has_no_root_and_tells_its_health(repository: Path) -> None:
    result = instructions(repository / "Dockerfile")
    known = {"FROM", "RUN", "ENV", "WORKDIR", "COPY", "USER", "HEALTHCHECK", "CMD"}
    assert {word for word, _ in result} <= known
    stages = [rest for word, rest in result if word == "FROM"]
    assert len(stages) == 2
    for stage in stages:
        assert re.fullmatch(r"[\w./-]+:\d+\.\d+\.\d+[\w.-]*( AS \w+)?", stage), stage
    last = result[[word for word, _ in result].index("FROM", 1) :]
    users = [rest for word, rest in last if word == "USER"]
    assert users
    assert users[-1] not in ("root", "0")
    assert [word for word, _ in last].count("HEALTHCHECK") == 1
    settings = " ".join(rest for word, rest in result if word != "RUN")
    assert not re.search(r"(?i)secret|password|token|access_key", settings)


def test_the_image_gets_every_file_that_it_copies(repository: Path) -> None:
    allowed = {line[1:] for line in (repository / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for word, rest in instructions(repository / "Dockerfile"):
        if word == "COPY" and not rest.startswith("--from"):
            for name in rest.split()[:-1]:
                assert (repository / name).exists()
                assert name in allowed, f"{name} is kept from the engine by .dockerignore"


def test_the_image_holds_every_package_of_the_wheel(repository: Path) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    copied = {rest.split()[0] for word, rest in instructions(repository / "Dockerfile") if word == "COPY"}
    assert set(packages) <= copied


def test_what_ci_calls_exists(repository: Path) -> None:
    text = (repository / ".ci" / "run").read_text()
    for script in (".ci/run", *re.findall(r"^step (\.ci/\S+)", text, re.MULTILINE)):
        assert (repository / script).stat().st_mode & 0o111, script
    targets = re.findall(r"^step make (\w+)$", text, re.MULTILINE)
    assert targets == ["setup", "lint", "docs", "test"]
    for target in (*targets, "demo"):
        assert re.search(rf"^{target}:", (repository / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize(
    ("failing", "status", "called"),
    [
        (None, 0, CI_STEPS),
        ("install-radosgw", 0, CI_STEPS),
        ("install-chromium", 0, CI_STEPS),
        ("make lint", 3, CI_STEPS[:4]),
        ("as-a-stranger", 3, CI_STEPS),
    ],
)
def test_ci_ends_with_the_first_step_that_fails(
    repository: Path, tmp_path: Path, failing: str | None, status: int, called: list[str]
) -> None:
    (tmp_path / ".ci").mkdir()
    log = tmp_path / "called"
    for path, name in (
        (".ci/install-radosgw", "install-radosgw"),
        (".ci/install-chromium", "install-chromium"),
        (".ci/as-a-stranger", "as-a-stranger"),
        ("make", "make $1"),
    ):
        script = tmp_path / path
        script.write_text(f'#!/bin/sh\necho "{name}" >>{log}\n[ "{name}" != "{failing}" ] || exit 3\n')
        script.chmod(0o755)
    shutil.copy(repository / ".ci" / "run", tmp_path / ".ci" / "run")
    environment = os.environ | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(["bash", ".ci/run"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == status, done.stdout + done.stderr
    assert log.read_text().splitlines() == called
    assert ("== passed" in done.stdout) == (status == 0)
    for name in ("radosgw", "chromium"):
        assert (f"WITHOUT the tests that need {name}" in done.stdout) == (failing == f"install-{name}")


def anchors(page: Path) -> set[str]:
    """The names that a code host gives a page's headings, code blocks left out."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = [re.sub(r"[^\w\- ]", "", item.lower()) for item in re.findall(r"^#+ (.+)$", text, re.MULTILINE)]
    names = [heading.strip().replace(" ", "-") for heading in headings]
    again = (
        f"{name}-{names[:location].count(name)}" for location, name in enumerate(names) if name in names[:location]
    )
    return {*names, *again}


def test_links_between_documents_lead_somewhere(repository: Path) -> None:
    for page in tracked(repository, "*.md"):
        for name, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)", page.read_text(encoding="utf-8")):
            if "://" not in name:
                target = page.parent / name if name else page
                where = f"{page.relative_to(repository)}: {name}#{anchor}"
                assert target.exists(), where
                assert not anchor or anchor in anchors(target), where
