"""The map store: every (image, class) map that training has accumulated, in numbered versions."""

from __future__ import annotations

__all__ = ["MapStore", "create", "open_store"]

import hashlib
import uuid
from collections.abc import Iterable, Sequence

from attn.store.algebra import FUSIONS
from attn.store.backends import Backend, connect
from attn.store.conditions import check_conditions
from attn.store.definition import DEFINITION, Definition, check_name, rows_per_shard
from attn.store.errors import MissingError, StoreError
from attn.store.fence import read_head, take_fence, write_head
from attn.store.history import fork, newest_version
from attn.store.index import RowIndex
from attn.store.manifest import Manifest, newest_claim, read_manifest, runs_of
from attn.store.place import Place
from attn.store.points import reach
from attn.store.reader import Snapshot
from attn.store.session import Session
from attn.store.tags import read_tags, remove_tag, write_tag


def create(
    uri: str | Backend,
    *,
    rows: Iterable[tuple[str, int]],
    grid: tuple[int, int],
    fusion: str = "max",
    classes: Sequence[str] = (),
    fingerprint: str = "",
    shard_rows: int | None = None,
    exist_ok: bool = False,
) -> MapStore:
    """Make a store.

    Args:
        uri: A folder or `s3://bucket/prefix`.
        rows: (image id, class index) of every label of every image, in any order.
        grid: (h, w) of all maps, which lie over the whole image whatever its shape.
        fusion: `max` or `mean`.
        classes: Names by class index.
        fingerprint: Of the data set; kept, not interpreted.
        shard_rows: About how many rows a base object holds.
        exist_ok: Open the store that is there, if it has the same rows, classes, grid and fusion.

    Raises:
        MapError: Rows are given twice or are none.
        StoreError: There is a store, or an argument is out of range.
        ConditionsIgnoredError: The server ignores conditional writes.
    """
    if fusion not in FUSIONS:
        raise StoreError(f"fusion is {fusion!r}; use one of {', '.join(FUSIONS)}")
    if len(grid) != 2 or not all(isinstance(side, int) and 0 < side <= 4096 for side in grid):
        raise StoreError(f"grid is {grid!r}; it must be (height, width) of a map, each from 1 to 4096")
    if shard_rows is not None and shard_rows < 1:
        raise StoreError(f"shard_rows is {shard_rows}; it must be at least 1")
    index = RowIndex.build(rows)
    if classes and index.classes.max() >= len(classes):
        raise StoreError(f"a row has class {index.classes.max()}, but there are {len(classes)} names of classes")
    backend = connect(uri) if isinstance(uri, str) else uri
    data = index.encode()
    sha256 = hashlib.sha256(data).hexdigest()
    pixels = grid[0] * grid[1]
    definition = Definition(
        uuid=str(uuid.uuid4()),
        grid=(grid[0], grid[1]),
        fusion=fusion,
        rows=len(index),
        images=len(index.images),
        rows_per_shard=shard_rows or rows_per_shard(len(index), pixels),
        classes=tuple(classes),
        fingerprint=fingerprint,
        index=f"index/pairs-{sha256[:16]}.arrow",
        index_sha256=sha256,
        rows_digest=index.digest,
    )
    check_conditions(backend)
    backend.write(definition.index, data)
    if backend.create(DEFINITION, definition.pack()):
        return MapStore(Place(backend, definition))
    store = open_store(backend)
    if not exist_ok:
        raise StoreError(f"{backend.uri} holds a store already; open it, or choose another place")
    for name in ("rows_digest", "classes", "grid", "fusion"):
        found, wanted = getattr(store.definition, name), getattr(definition, name)
        if found != wanted:
            what = "other rows" if name == "rows_digest" else f"{name} {found!r} and not {wanted!r}"
            raise StoreError(f"{backend.uri} holds a store with {what}; choose another place")
    return store


def open_store(uri: str | Backend) -> MapStore:
    """Open a store.

    Raises:
        StoreError: There is none.
        DamagedError: Its definition is damaged.
    """
    backend = connect(uri) if isinstance(uri, str) else uri
    try:
        data = backend.read(DEFINITION)
    except MissingError:
        raise StoreError(f"{backend.uri} holds no map store: there is no {DEFINITION}") from None
    return MapStore(Place(backend, Definition.unpack(data, f"{backend.uri}: {DEFINITION}")))


class MapStore:
    """A store at a place; it can be pickled.

    Attributes:
        definition: What was fixed when it was made.
    """

    def __init__(self, place: Place) -> None:
        self._place = place

    @property
    def definition(self) -> Definition:
        return self._place.definition

    @property
    def uri(self) -> str:
        return self._place.backend.uri

    @property
    def grid(self) -> tuple[int, int]:
        """(h, w) of all maps."""
        return self.definition.grid

    @property
    def rows(self) -> RowIndex:
        """Its rows, by number and by name."""
        return self._place.index

    @property
    def runs(self) -> list[str]:
        """Runs that have begun in it."""
        return runs_of(self._place.backend)

    def begin(self, run: str, *, from_version: int | None = None) -> Session:
        """Begin to write a run, and shut earlier sessions of it out.

        Args:
            from_version: The version that the run's checkpoint names, of whichever run; what else lies in the store
                does not count. Left out, the run begins from empty.

        Raises:
            VersionError: There is no such version.
            ConditionsIgnoredError: The server ignores conditional writes.
        """
        backend = self._place.backend
        check_name("run", run)
        if backend.path("") is None:  # a folder's file system was asked when the store was made
            check_conditions(backend)
        manifest = read_manifest(backend, from_version) if from_version else Manifest.empty(run)
        fence = take_fence(backend, run, manifest.version, newest_claim(backend))
        reach("begin.fenced")
        write_head(backend, run, manifest.version, manifest.sha256, fence.number)
        reach("begin.head")
        return Session(self._place, fence, manifest)

    def at(self, version: int | None = None, *, run: str | None = None) -> Snapshot:
        """A version to read.

        Args:
            version: Left out, the newest committed one. 0 is the empty one that every store begins with.
            run: Of whose versions the newest is meant; left out, of all.

        Raises:
            VersionError: There is no such version.
        """
        if version is None:
            return Snapshot(self._place, self.newest(run))
        return Snapshot(self._place, read_manifest(self._place.backend, version, run))

    def newest(self, run: str | None = None) -> Manifest:
        """The newest committed version of a run, or of all.

        What an earlier session of a run committed after the version from which the newest session began is not in the
        run's history, and is passed over.
        """
        found = [newest_version(self._place.backend, name) for name in ([run] if run else self.runs)]
        return max(found, key=lambda manifest: manifest.version, default=Manifest.empty(""))

    def head(self, run: str) -> int | None:
        """The version that a run's newest durable checkpoint names; None where the run has not begun."""
        found = read_head(self._place.backend, run)
        return found[0].version if found else None

    def fork(self, version: int, run: str) -> int:
        """Begin a run with another's version, without copying: its number in the new run, from which a session begins.

        Raises:
            VersionError: There is no such version.
            StoreError: The run has begun already.
        """
        return fork(self._place.backend, version, check_name("run", run)).version

    def tag(self, name: str, version: int) -> None:
        """Name a version that `gc` must keep, such as a registered model's."""
        write_tag(self._place.backend, name, read_manifest(self._place.backend, version))

    def untag(self, name: str) -> None:
        """Take a name away."""
        remove_tag(self._place.backend, name)

    @property
    def tags(self) -> dict[str, int]:
        """Versions by name."""
        return {name: tag.version for name, tag in read_tags(self._place.backend).items()}

    def __repr__(self) -> str:
        return f"MapStore({self.uri!r})"
