"""Map stores that a user names, and the data that their maps are of."""

from __future__ import annotations

__all__ = ["FoundStore", "find_store", "store_config", "store_hint", "stores_of_run"]

import re
from typing import Any, NamedTuple, TypeVar

from attn.config.base import Config, is_remote, local_path
from attn.config.document import Document, dump_values, read_document
from attn.config.resolve import override, resolve
from attn.data.soft_labels import OTHER_DATA
from attn.errors import AttnError, ConfigError, Fault
from attn.files import transfer
from attn.files.locations import beside, join, read_bytes
from jobs.runs.open_model import model_lookup
from jobs.runs.run_folder import RunFolder, is_run_id

C = TypeVar("C", bound=Config)


class FoundStore(NamedTuple):
    """Where a map store is that a user has named.

    Attributes:
        version: None: the newest.
        run: Folder of the run that wrote it, if that run was named.
    """

    location: str
    version: int | None = None
    run: str | None = None


def find_store(target: str, overrides: list[str]) -> FoundStore | None:
    """A map store, if that is what is meant: by its location, or by the run of `attn maps` that has written it."""
    name, version = target, None
    if named := re.fullmatch(r"(.+)@(\d+)", target):
        name, version = named[1], int(named[2])
    name = local_path(name).rstrip("/")
    for location in (name, f"{model_lookup(overrides).root}/{name}"):
        if (not is_remote(location) or "/" in location.removeprefix("s3://")) and transfer.exists(
            f"{location}/store.json"
        ):
            return FoundStore(location, version)
    written = _store_of_maps_run(name, model_lookup(overrides).root)
    return None if written is None else written._replace(version=version)


def _store_of_maps_run(name: str, root: str) -> FoundStore | None:
    """The store that a run of `attn maps` has written, by the run's name or folder."""
    try:
        folder = RunFolder.of(name, root)
        state = folder.state() if is_run_id(folder.run_id) and folder.exists() else None
    except AttnError:  # a damaged run: what is said of models then names it
        return None
    written = state.store if state is not None and state.kind == "maps" else None
    if written is None or not transfer.exists(f"{written}/store.json"):
        return None
    return FoundStore(written, run=folder.uri)


def stores_of_run(name: str, root: str = "runs") -> list[str]:
    """Locations of the map stores of a run: of a training or of written maps, or of a pipeline's stages.

    Args:
        name: The run's id under the root, or its folder.
    """
    try:
        folder = RunFolder.of(name, root)
        state = folder.state() if is_run_id(folder.run_id) and folder.exists() else None
    except AttnError:
        return []
    if state is None:
        return []
    stages = [stage.folder for stage in (state.stages or {}).values() if stage.folder is not None]
    named = [state.store, *(join(one, "store") for one in (folder.uri, *stages))]
    return [one for one in dict.fromkeys(named) if one is not None and transfer.exists(join(one, "store.json"))]


def store_config(kind: type[C], location: str, overrides: list[str], *, run: str | None = None) -> C:
    """The config of a job on a store's maps: the data of the run that wrote them, changed by the overrides.

    Args:
        run: Folder of that run; by default the one in whose folder the store lies.

    Raises:
        ConfigError: With all faults. It says so where neither that run nor the overrides name the data.
    """
    text: dict[str, Any] = {"tracking": {"enabled": False}}
    name, values = _run_of_store(location) if run is None else _config_of_run(location, join(run, "config.yaml"))
    text |= {"data": values["data"]} if "data" in values else {}
    given = Document()
    override(given, overrides)
    if "data" not in {*text, *given.values} and not given.unread:
        hint = "name the run that wrote it in its place, or add data=FILE, or data.source=... data.root=..."
        unknown = "it is not known which data these maps are of: the store lies in no run's folder"
        raise ConfigError([Fault(location, unknown, hint)])
    return resolve(kind, dump_values(text), name, overrides)


def store_hint(location: str, split: str) -> str:
    """What to do where a store lacks images of a split: says which split it has, if a run's folder tells."""
    data = _run_of_store(location)[1].get("data")
    own = data.get("split") if isinstance(data, dict) else None
    if own is None or own == split:
        return OTHER_DATA
    return (
        f"the run of this store was on data.split={own}: without data.split={split} these maps are used; "
        f"`attn maps MODEL data.split={split}` makes maps of the other images"
    )


def _run_of_store(location: str) -> tuple[str, dict[str, Any]]:
    """The file and the values of the config of the run in whose folder a store lies; without one, it and no values."""
    return _config_of_run(location, beside(location, "config.yaml"))


def _config_of_run(location: str, file: str) -> tuple[str, dict[str, Any]]:
    if not transfer.exists(file):
        return location, {}
    return file, read_document(read_bytes(file).decode(), file).values
