"""The code that runs on a cluster: a copy of this process's packages, whatever is installed on the nodes.

Ray unpacks it on each node, makes it the working directory of a job's processes, and puts it before all else on
Python's path. It does not put the driver's own folders there, as it does without a working directory.
"""

from __future__ import annotations

__all__ = ["LARGEST_BYTES", "WRITES_BYTECODE", "ShippedCode", "job_environment", "read_code"]

import contextlib
import io
import json
import os
import sys
import zipfile
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from importlib.machinery import PathFinder
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from attn.display import size
from attn.errors import RunError
from attn.own_code import code_files, code_folder, digest_of, files_below
from attn.scratch import scratch_folder
from attn.source_tree import ORIGIN_FILE, origin_file

LARGEST_BYTES = 50 * 2**20
"""The head keeps each package in memory. Ray's own limits are 500 MiB, and 100 MiB for what a job server takes."""
NAMED = 3
"""Number of the largest files that an error names."""
INSTALLED = {"site-packages", "dist-packages"}
"""Folders of installed packages, which a node's image has to hold: they may have compiled parts."""
JOB_CONFIG = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Environment variable by which Ray tells a submitted job's driver what it was submitted with."""
WRITES_BYTECODE = {"PYTHONDONTWRITEBYTECODE": ""}
"""Of processes that run shipped code: the image's own is compiled, and this would be compiled by every process anew."""


@dataclass(frozen=True)
class ShippedCode:
    """Copies of the files that a cluster's processes import.

    Attributes:
        contents: By their paths.
    """

    contents: dict[str, bytes]

    @property
    def package(self) -> str:
        """The name of the zip file in Ray's storage of packages: the same for the same code."""
        return f"_ray_pkg_attn_{digest_of(self.contents)}.zip"

    @property
    def uri(self) -> str:
        """The location of the zip file for a `runtime_env`."""
        return f"gcs://{self.package}"

    def zipped(self) -> bytes:
        """A zip file of the files."""
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in self.contents.items():
                archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
        return stream.getvalue()

    def write(self, folder: Path) -> None:
        """Write the files into a folder."""
        for name, content in self.contents.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def read_code(factories: str = "") -> ShippedCode:
    """Read the packages that this process runs, with what they require, and the commit and changes of a checkout.

    Args:
        factories: Functions of the user's packages, as in `ATTN_FACTORIES`. Of these packages only files of Python are
            taken, and none of those that are installed.

    Raises:
        RunError: They are larger than `LARGEST_BYTES`.
    """
    folder = code_folder()
    files = {**_files_of_factories(factories), **code_files(folder)}
    beside = {**_requirements(), **({} if (origin := origin_file()) is None else {ORIGIN_FILE: origin})}
    sizes = {name: path.stat().st_size for name, path in files.items()}
    if (total := sum(sizes.values()) + sum(map(len, beside.values()))) > LARGEST_BYTES:
        largest = sorted(files, key=lambda name: sizes[name], reverse=True)[:NAMED]
        named = ", ".join(f"{files[name]} ({size(sizes[name])})" for name in largest)
        raise RunError(
            f"the code to send to the cluster has {size(total)}, more than {size(LARGEST_BYTES)}; the largest files "
            f"are {named}: move what is no code out of these folders"
        )
    return ShippedCode({**beside, **{name: path.read_bytes() for name, path in files.items()}})


@contextlib.contextmanager
def job_environment(variables: dict[str, str], factories: str = "") -> Generator[dict[str, Any]]:
    """The `runtime_env` of a driver that joins a cluster, to be used inside the `with` block.

    A job that was submitted with a working directory or modules has its code, and sends none.

    Args:
        variables: Environment variables of the cluster's processes.
        factories: As for `read_code`.

    Raises:
        RunError: The code is too large to be sent.
    """
    submitted: dict[str, Any] = json.loads(os.environ.get(JOB_CONFIG) or "{}").get("runtime_env") or {}
    # Ray refuses what both name.
    left = {
        name: value
        for name, value in {**WRITES_BYTECODE, **variables}.items()
        if name not in submitted.get("env_vars", {})
    }
    if not submitted.keys().isdisjoint({"working_dir", "py_modules"}):
        yield {"env_vars": left}
        return
    with scratch_folder() as folder:
        read_code(factories).write(folder)
        yield {"env_vars": left, "working_dir": str(folder)}


def _requirements() -> dict[str, bytes]:
    """The description of what the packages require, which `attn doctor` compares with what a node has installed."""
    try:
        described = distribution("attn")
    except PackageNotFoundError:
        return {}
    name = f"attn-{described.version}.dist-info/METADATA"
    return {name: text.encode()} if (text := described.read_text("METADATA")) else {}


def _files_of_factories(factories: str) -> dict[str, Path]:
    """The files of Python of the packages that hold the functions."""
    names = {one.strip().partition(":")[0].partition(".")[0] for one in factories.split(",")}
    modules = sorted(names - sys.stdlib_module_names - {""})
    return {name: path for module in modules for name, path in _files_of_module(module)}


def _files_of_module(name: str) -> Iterator[tuple[str, Path]]:
    """The files of Python of a package or module, with their paths below the folder that holds it."""
    spec = PathFinder.find_spec(name, sys.path)
    if spec is None:
        return
    packages = [Path(place) for place in spec.submodule_search_locations or ()]
    files = [path for package in packages for path in files_below(package)]
    if not packages and spec.origin is not None:
        files = [Path(spec.origin)]
    for path in files:
        parent = next((package.parent for package in packages if path.is_relative_to(package)), path.parent)
        if path.suffix == ".py" and INSTALLED.isdisjoint(path.parts):
            yield path.relative_to(parent).as_posix(), path
