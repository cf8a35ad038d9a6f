"""Pictures of how a run's cumulative maps grew: at the run's end, and for any store on demand."""

from __future__ import annotations

__all__ = ["GrowthResult", "draw", "run"]

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from attn import store
from attn.config.base import local_path
from attn.data.names import file_stem
from attn.data.soft_labels import StoredMaps, open_maps
from attn.data.source import Source
from attn.errors import DataError
from attn.files.locations import beside
from attn.files.transfer import write_bytes
from attn.pictures.accumulated import accumulated
from attn.pictures.preview import evenly_spaced
from attn.runs.growth import GrowthConfig
from attn.runs.layers import with_data
from attn.runs.result import JsonResult
from attn.runs.texts import LOCAL_TEXTS
from attn.store import MapStore
from attn.tracking import NullTracker, Tracker
from jobs.scoring.found_store import store_config, store_hint


@dataclass(frozen=True)
class GrowthResult(JsonResult):
    """Pictures of a store's growth.

    Attributes:
        run: The run of the store that was drawn.
        pictures: File of each, by image id.
    """

    store: str
    run: str
    pictures: dict[str, str]


def run(location: str, overrides: list[str]) -> GrowthResult:
    """Draw the growth of a store's maps.

    Args:
        location: Folder or `s3://bucket/prefix` of the store.
        overrides: `a.b=value`, over the data of the run in whose folder it lies.

    Raises:
        AttnError: There is no such store, or the data is not the store's.
    """
    uri = local_path(location).rstrip("/")
    opened = store.open(uri)
    config = store_config(GrowthConfig, uri, with_data(overrides, LOCAL_TEXTS))
    source = config.data.build()
    of_run = config.run or opened.newest().run
    if of_run not in opened.runs:
        raise DataError(f"{opened.uri} has no run {of_run!r}; its runs are {', '.join(opened.runs) or 'none yet'}")
    open_maps(StoredMaps(uri, opened.newest(of_run).version), source, store_hint(uri, config.data.split))
    folder = config.folder or beside(uri, "growth")
    pictures = draw(opened, of_run, source, _chosen(source, config), folder, columns=config.columns)
    return GrowthResult(opened.uri, of_run, pictures)


def draw(
    opened: MapStore,
    run: str,
    source: Source,
    indices: Iterable[int],
    folder: str,
    *,
    columns: int = 6,
    tracker: Tracker | None = None,
) -> dict[str, str]:
    """Write one PNG an image below a folder, and record it where there is a tracker.

    Returns:
        The files by image id.
    """
    files: dict[str, str] = {}
    tracker = tracker or NullTracker()
    for image_id, picture in accumulated(opened, run, source, indices, columns=columns):
        name = file_stem(image_id)
        files[image_id] = f"{folder}/{name}.png"
        write_bytes(files[image_id], picture.png())
        tracker.log_picture(f"growth/{name}.png", picture.pixels)
    return files


def _chosen(source: Source, config: GrowthConfig) -> list[int]:
    if isinstance(config.images, int):
        return evenly_spaced(source.records, config.images)
    positions = {record.image_id: index for index, record in enumerate(source.records)}
    for name in config.images:
        if name not in positions:
            near = difflib.get_close_matches(name, positions, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise DataError(f"images: the data has no image {name!r}{hint}")
    return [positions[name] for name in config.images]
