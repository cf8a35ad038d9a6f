"""The files of the packages `attn`, `jobs` and `services`: which those are that run here, and what is in them."""

from __future__ import annotations

__all__ = [
    "PackagesError",
    "check_packages",
    "code_digest",
    "code_files",
    "code_folder",
    "digest_of",
    "files_below",
    "is_code",
    "other_code_folder",
    "shadowing",
]

import hashlib
import os
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import PathFinder
from pathlib import Path, PurePosixPath

from attn.errors import AttnError

PACKAGES = ("attn", "jobs", "services")
COMPILED = "__pycache__"
MARKER = "py.typed"
DATA = {
    "jobs/recipes": (".yaml",),
    "services/pages/templates": (".html",),
    "services/pages/static": (".css", ".js", ".svg"),
}
"""Types of the files that are no Python, by the folder in which they are."""


class PackagesError(AttnError):
    """Python finds other packages than ours by the names of ours."""

    code = "packages"


def code_folder() -> Path:
    """The folder that holds the packages that this process runs: of a checkout, or of installed packages."""
    return Path(__file__).parent.parent


def code_files(folder: Path) -> dict[str, Path]:
    """The files of the three packages in a folder, by their paths in it, in a fixed order.

    A wheel holds these files, so an installed version has the same ones as the working tree that it was built from.
    Files of other types, such as credentials or the checkpoints of a run, are left out.
    """
    paths = (path for name in PACKAGES for path in files_below(folder / name))
    files = {path.relative_to(folder).as_posix(): path for path in paths}
    return {name: path for name, path in files.items() if is_code(name)}


def is_code(name: str) -> bool:
    """Whether a path, relative to the folder of the three packages, is that of Python, of a recipe or of a page."""
    path = PurePosixPath(name)
    if path.parts[0] not in PACKAGES or any(part.startswith(".") for part in path.parts):
        return False
    if path.suffix == ".py" or path.name == MARKER:
        return True
    return any(path.suffix in suffixes and path.is_relative_to(folder) for folder, suffixes in DATA.items())


def files_below(folder: Path) -> Iterator[Path]:
    """The files below the folder of a package but hidden ones and what Python has compiled.

    Links to folders are not followed, and links to files only within the folder that holds the package's
    `__init__.py`. That file may itself be a link: some installers link each file of a package to their cache.
    """
    package = Path(os.path.realpath(folder / "__init__.py")).parent
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name != COMPILED and not name.startswith("."))
        paths = (Path(place, name) for name in sorted(names) if not name.startswith("."))
        yield from (path for path in paths if path.is_file() and _stays_in(package, path))


def _stays_in(package: Path, path: Path) -> bool:
    """Whether a file is no link, or one to a file of the package."""
    return not path.is_symlink() or Path(os.path.realpath(path)).is_relative_to(package)


def code_digest(folder: Path) -> str:
    """SHA-256 of the names and the contents of the three packages' files."""
    return digest_of({name: path.read_bytes() for name, path in code_files(folder).items()})


def digest_of(contents: dict[str, bytes]) -> str:
    """SHA-256 of names and contents, in any order."""
    total = hashlib.sha256()
    for name in sorted(contents):
        total.update(f"{hashlib.sha256(contents[name]).hexdigest()} {name}\n".encode())
    return total.hexdigest()


def other_code_folder() -> Path | None:
    """The folder that Python would find `attn` in without that of this process: what is installed on a machine."""
    ours = code_folder().resolve()
    places = [place for place in sys.path if Path(place or ".").resolve() != ours]
    origin = _origin("attn", places)
    return origin.parent.parent if origin is not None else None


def check_packages() -> None:
    """Check that `jobs` and `services`, which are common names, are the packages beside this `attn`.

    Raises:
        PackagesError: Another package of that name comes first on Python's path.
    """
    other = shadowing(sys.path)
    if other is not None:
        raise PackagesError(
            f"Python finds another package {other.stem!r} than attn's, in {other}: take the folder that holds it "
            "out of PYTHONPATH, or rename it"
        )


def shadowing(places: Sequence[str]) -> Path | None:
    """The folder or file of a package that is called like one of ours and is not ours, and comes first on a path.

    Args:
        places: Folders; an empty name is the working directory.
    """
    for name in PACKAGES:
        origin = _origin(name, places)
        if origin is not None and origin.parent.resolve() != (code_folder() / name).resolve():
            return origin.parent if origin.name == "__init__.py" else origin
    return None


def _origin(name: str, places: Sequence[str]) -> Path | None:
    """The file that a package or module would be imported from; a folder without `__init__.py` has none."""
    spec = PathFinder.find_spec(name, list(places))
    return Path(spec.origin) if spec is not None and spec.origin is not None else None
