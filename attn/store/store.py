"""The map store: every (image, class) map that training has accumulated, in numbered versions."""

from __future__ import annotations

__all__ = ["MapStore"]

from attn.files.class_names import CLASSES_FILE, classes_file
from attn.files.locations import join
from attn.files.transfer import write_bytes
from attn.store.backends.conditional_writes import check_conditions
from attn.store.format.definition import Definition, check_name
from attn.store.format.index import RowIndex
from attn.store.format.manifest import Manifest, newest_claim, read_manifest, runs_of
from attn.store.protocol import failpoints
from attn.store.protocol.fence import read_head, take_fence, write_head
from attn.store.protocol.handle import StoreHandle
from attn.store.protocol.history import fork, history, newest_version
from attn.store.protocol.leases import hold_version
from attn.store.protocol.session import Session
from attn.store.protocol.tags import read_tags, remove_tag, write_tag
from attn.store.reader import Snapshot
from attn.store.upkeep.export import export
from attn.store.upkeep.gc import Garbage, collect
from attn.store.upkeep.verify import Report, verify


class MapStore:
    """A store at a place; it can be pickled.

    Attributes:
        definition: What was fixed when it was made.
    """

    def __init__(self, handle: StoreHandle) -> None:
        self._handle = handle

    @property
    def definition(self) -> Definition:
        return self._handle.definition

    @property
    def uri(self) -> str:
        return self._handle.backend.uri

    @property
    def grid(self) -> tuple[int, int]:
        """(h, w) of all maps."""
        return self.definition.grid

    @property
    def rows(self) -> RowIndex:
        """Its rows, by number and by name."""
        return self._handle.index

    @property
    def runs(self) -> list[str]:
        """Runs that have begun in it."""
        return runs_of(self._handle.backend)

    def begin(self, run: str, *, from_version: int | None = None) -> Session:
        """Begin to write a run, and shut earlier sessions of it out.

        Args:
            from_version: The version that the run's checkpoint names, of whichever run; what else lies in the store
                does not count. Left out, the run begins from empty.

        Raises:
            VersionError: There is no such version.
            ConditionsIgnoredError: The server ignores conditional writes.
            StoreError: The store's format can be read only.
        """
        backend = self._handle.backend
        self.definition.check_writable(self.uri)
        check_name("run", run)
        if backend.path("") is None:  # a folder's file system was asked when the store was made
            check_conditions(backend)
        manifest = read_manifest(backend, from_version) if from_version else Manifest.empty(run)
        with hold_version(backend, manifest):
            failpoints.hit("begin.leased")
            fence = take_fence(backend, run, manifest.version, newest_claim(backend))
            failpoints.hit("begin.fenced")
        write_head(backend, run, manifest.version, manifest.sha256, fence.number)
        failpoints.hit("begin.head")
        return Session(self._handle, fence, manifest)

    def at(self, version: int | None = None, *, run: str | None = None) -> Snapshot:
        """A version to read.

        Args:
            version: Left out, the newest committed one. 0 is the empty one that every store begins with.
            run: Of whose versions the newest is meant; left out, of all.

        Raises:
            VersionError: There is no such version.
        """
        if version is None:
            return Snapshot(self._handle, self.newest(run))
        return Snapshot(self._handle, read_manifest(self._handle.backend, version, run))

    def newest(self, run: str | None = None) -> Manifest:
        """The newest committed version of a run, or of all.

        What an earlier session of a run committed after the version from which the newest session began is not in the
        run's history, and is passed over.
        """
        found = [newest_version(self._handle.backend, name) for name in ([run] if run else self.runs)]
        return max(found, key=lambda manifest: manifest.version, default=Manifest.empty(""))

    def history(self) -> list[tuple[Manifest, bool]]:
        """All versions that are there, each with whether it is in its run's history, or was abandoned."""
        return history(self._handle.backend)

    def head(self, run: str) -> int | None:
        """The version that a run's newest durable checkpoint names; None where the run has not begun."""
        found = read_head(self._handle.backend, run)
        return found[0].version if found else None

    def fork(self, version: int, run: str) -> int:
        """Begin a run with another's version, without copying: its number in the new run, from which a session begins.

        Raises:
            VersionError: There is no such version.
            StoreError: The run has begun already, or the store's format can be read only.
        """
        self.definition.check_writable(self.uri)
        return fork(self._handle.backend, version, check_name("run", run)).version

    def tag(self, name: str, version: int) -> None:
        """Name a version that `gc` must keep, such as a registered model's.

        Raises:
            VersionError: There is no such version.
            StoreError: The name stands for another version.
        """
        manifest = read_manifest(self._handle.backend, version)
        with hold_version(self._handle.backend, manifest):
            write_tag(self._handle.backend, name, manifest)

    def untag(self, name: str) -> None:
        """Take a name away."""
        remove_tag(self._handle.backend, name)

    @property
    def tags(self) -> dict[str, int]:
        """Versions by name."""
        return {name: tag.version for name, tag in read_tags(self._handle.backend).items()}

    def verify(self) -> Report:
        """Read everything and check every hash and count; the report lists all faults."""
        return verify(self._handle)

    def gc(self, *, dry_run: bool = True, keep: int = 2) -> Garbage:
        """Find what no version that must stay needs and, unless it is a dry run, remove it.

        Tagged versions stay, each run's head and newest version and all between them. Nothing younger than a day goes.

        Args:
            keep: How many of each run's newest versions stay at least.

        Raises:
            DamagedError: A manifest cannot be read; nothing is removed.
        """
        return collect(self._handle.backend, self.definition, dry_run=dry_run, keep=keep)

    def export(self, target: str, *, form: str = "png", version: int | None = None, run: str | None = None) -> int:
        """Write a version's maps for other programs, and say how many.

        Args:
            target: `png`: a folder, into which `<image id>_<class index>.png` go and, where the store has them, the
                names of the classes as `classes.json`. `npz`, `parquet`: a file.
            form: `png`, `npz` or `parquet`.
            version: Left out, the newest.

        Raises:
            StoreError: There is no such format, or the target cannot be written.
        """
        count = export(self.at(version, run=run), self.rows, self.grid, target, form)
        if form == "png" and self.definition.classes:
            write_bytes(join(target, CLASSES_FILE), classes_file(self.definition.classes))
        return count

    def __repr__(self) -> str:
        return f"MapStore({self.uri!r})"
