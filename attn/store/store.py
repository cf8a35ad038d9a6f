"""The map store: the accumulated map of every (image, class), in numbered versions."""

from __future__ import annotations

__all__ = ["MapStore"]

from attn.files.class_names import CLASSES_FILE, classes_file
from attn.files.locations import join
from attn.files.transfer import write_bytes
from attn.store.backends.conditional_writes import check_conditions
from attn.store.format.definition import Definition, check_name
from attn.store.format.index import RowIndex
from attn.store.format.manifest import Manifest, list_runs, newest_claim, read_manifest
from attn.store.protocol import failpoints
from attn.store.protocol.fence import end_session, publish, read_head, take_fence, write_head
from attn.store.protocol.handle import StoreHandle
from attn.store.protocol.history import NoHeadError, fork, history, readable_version
from attn.store.protocol.leases import hold_version
from attn.store.protocol.session import Session
from attn.store.protocol.tags import read_tags, remove_tag, write_tag
from attn.store.reader import Snapshot
from attn.store.upkeep.export import export
from attn.store.upkeep.gc import Garbage, collect
from attn.store.upkeep.verify import Report, verify


class MapStore:
    """A map store. It can be pickled.

    Attributes:
        definition: Grid, fusion, classes and rows, fixed when the store was created.
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
        """The store's rows: (image id, class) by row number and back."""
        return self._handle.index

    @property
    def runs(self) -> list[str]:
        """Names of the runs that have begun in this store."""
        return list_runs(self._handle.backend)

    def begin(self, run: str, *, from_version: int | None = None) -> Session:
        """Begin a session that writes a run. Earlier sessions of the run can no longer commit.

        Args:
            from_version: The version to continue from: the one that the run's checkpoint names. It may belong to
                another run. None: start empty, whatever else the store holds.

        Raises:
            VersionError: There is no such version.
            ConditionsIgnoredError: The server ignores conditional writes.
            StoreError: The store has a read-only format.
        """
        backend = self._handle.backend
        self.definition.check_writable(self.uri)
        check_name("run", run)
        if backend.path("") is None:  # a folder's file system was checked when the store was created
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
        """Open a version for reading.

        Args:
            version: None: the newest committed version, see `newest`. 0 is the empty version of every store.
            run: Restricts the newest version to this run's.

        Raises:
            VersionError: There is no such version.
        """
        if version is None:
            return Snapshot(self._handle, self.newest(run))
        return Snapshot(self._handle, read_manifest(self._handle.backend, version, run))

    def newest(self, run: str | None = None) -> Manifest:
        """The newest committed version of a run, or of all runs.

        It is never one that a restart can abandon: a tentative version counts once `publish` has named it or a later
        one. Versions that are not in the run's history are skipped: those that an earlier session committed after the
        version from which the newest session continued. A run without a commit of its own has the version from which it
        continues, also another run's tentative one: `begin` and `fork` take it as durable.

        Raises:
            DamagedError: The newest version is not known. A run that lacks its head stops only readers of this run, and
                readers of all runs if one of its versions may be the newest.
        """
        result, unknown = list[Manifest](), list[NoHeadError]()
        for name in [run] if run else self.runs:
            try:
                result.append(readable_version(self._handle.backend, name))
            except NoHeadError as error:
                unknown.append(error)
        newest = max(result, key=lambda manifest: manifest.version, default=Manifest.empty(""))
        for error in unknown:
            if run or error.max_readable > newest.version:
                raise error
        return newest

    def snapshot(self, manifest: Manifest) -> Snapshot:
        """The maps of a version that `newest` or `history` gave."""
        return Snapshot(self._handle, manifest)

    def publish(self, run: str, version: int) -> None:
        """As `Session.publish`, for a process that does not hold the session but knows that a checkpoint is durable.

        Raises:
            VersionError: There is no such version.
            FencedError: Another session of the run has begun since the version was committed.
        """
        if self.head(run) == version:  # its session began from it and has committed nothing
            return
        manifest = read_manifest(self._handle.backend, version, run)
        publish(self._handle.backend, run, version, manifest.sha256, manifest.fence)

    def close(self, run: str, version: int) -> None:
        """Publish the last version of a run, and shut out the process that committed it.

        What that process wrote beside its versions is then garbage.

        Raises:
            VersionError: There is no such version.
            FencedError: Another session of the run has begun since the version was committed.
        """
        self.definition.check_writable(self.uri)
        backend = self._handle.backend
        manifest = read_manifest(backend, version) if version else Manifest.empty(run)
        with hold_version(backend, manifest):
            fence = end_session(backend, run, manifest, newest_claim(backend))
        write_head(backend, run, version, manifest.sha256, fence.number)

    def history(self) -> list[tuple[Manifest, bool]]:
        """All versions, each with True if it is in its run's history, and False if it was abandoned."""
        return history(self._handle.backend)

    def head(self, run: str) -> int | None:
        """The version that a run's newest durable checkpoint names; None if the run has not begun."""
        result = read_head(self._handle.backend, run)
        return result[0].version if result else None

    def fork(self, version: int, run: str) -> int:
        """Start a new run from an existing version without copying objects.

        Returns:
            The number of the new run's first version; pass it to `begin` as `from_version`.

        Raises:
            VersionError: There is no such version.
            StoreError: The run has begun already, or the store has a read-only format.
        """
        self.definition.check_writable(self.uri)
        return fork(self._handle.backend, version, check_name("run", run)).version

    def tag(self, name: str, version: int) -> None:
        """Tag a version, so that `gc` keeps it; a registered model tags its version.

        Raises:
            VersionError: There is no such version.
            StoreError: The tag names another version.
        """
        manifest = read_manifest(self._handle.backend, version)
        with hold_version(self._handle.backend, manifest):
            write_tag(self._handle.backend, name, manifest)

    def untag(self, name: str) -> None:
        """Remove a tag."""
        remove_tag(self._handle.backend, name)

    @property
    def tags(self) -> dict[str, int]:
        """Versions by tag."""
        return {name: tag.version for name, tag in read_tags(self._handle.backend).items()}

    def verify(self) -> Report:
        """Read every object and check all hashes and counts; the report lists all faults."""
        return verify(self._handle)

    def gc(self, *, dry_run: bool = True, keep: int = 2) -> Garbage:
        """Find objects that no kept version needs and, unless `dry_run`, remove them.

        Kept are tagged versions, each run's head and newest version, and all versions between the two. Nothing younger
        than a day is removed.

        Args:
            keep: Minimum number of newest versions to keep per run.

        Raises:
            DamagedError: A manifest cannot be read; nothing is removed.
        """
        return collect(self._handle.backend, self.definition, dry_run=dry_run, keep=keep)

    def export(self, target: str, *, form: str = "png", version: int | None = None, run: str | None = None) -> int:
        """Write a version's maps in a format that other programs read.

        Args:
            target: For `png` a folder: it gets `<image id>_<class index>.png` and, if the store has class names,
                `classes.json`. For `npz` and `parquet` a file.
            form: `png`, `npz` or `parquet`.
            version: None: the newest.

        Returns:
            The number of maps written.

        Raises:
            StoreError: The format is unknown, or the target cannot be written.
        """
        count = export(self.at(version, run=run), self.rows, self.grid, target, form)
        if form == "png" and self.definition.classes:
            write_bytes(join(target, CLASSES_FILE), classes_file(self.definition.classes))
        return count

    def __repr__(self) -> str:
        return f"MapStore({self.uri!r})"
