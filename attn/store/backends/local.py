"""The backend for a local folder.

`write` renames a temporary file; `create` hard-links it, which fails if the name exists. `replace` compares and renames
under a file lock, which the kernel releases when its holder dies. Symbolic links below the folder are refused because
they could lead out of it; the folder itself may be one.
"""

from __future__ import annotations

__all__ = ["LocalBackend"]

import contextlib
import errno
import fcntl
import hashlib
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from attn.store.backends.base import MAX_RECORD_BYTES, Entry, check_key, too_large
from attn.store.errors import ConditionsIgnoredError, DamagedError, MissingError, StoreError
from attn.store.protocol import failpoints

_TRIES = 3
TEMPORARY_SUFFIX, LOCK_SUFFIX = ".part", ".lock"
_NO_HARD_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV)
_NEEDS_HARD_LINKS = (
    "{}: the file system has no hard links, which a store needs for exclusive writes; use a folder on another file "
    "system, or an object store"
)


@dataclass(frozen=True)
class LocalBackend:
    """Objects are files below `root`."""

    root: str

    @property
    def uri(self) -> str:
        return self.root

    def path(self, key: str) -> Path:
        return Path(self.root, key)

    def read(self, key: str, start: int = 0, stop: int | None = None) -> bytes:
        try:
            # O_NONBLOCK: opening a pipe would block forever.
            descriptor = os.open(self._inside(key), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode):
                    raise DamagedError(f"{self.path(key)} is not a regular file, so it cannot be an object of a store")
                end = status.st_size if stop is None else min(stop, status.st_size)
                with open(descriptor, "rb", closefd=False) as stream:
                    stream.seek(start)
                    return stream.read(max(0, end - start))
            finally:
                os.close(descriptor)
        except (FileNotFoundError, NotADirectoryError):
            raise MissingError(f"{self.path(key)}: no such file") from None
        except OSError as error:
            raise self._fault(key, "read", error) from None

    def size(self, key: str) -> int | None:
        try:
            return self._inside(key).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise self._fault(key, "read", error) from None

    def write(self, key: str, data: bytes | memoryview) -> None:
        self._put(key, data, os.replace)

    def create(self, key: str, data: bytes) -> bool:
        try:
            self._put(key, data, self._link)
        except FileExistsError:
            return self.read(key) == data
        return True

    def load(self, key: str) -> tuple[bytes, str] | None:
        try:
            data = self.read(key, 0, MAX_RECORD_BYTES + 1)
        except MissingError:
            return None
        if len(data) > MAX_RECORD_BYTES:
            raise too_large(self.uri, key)
        return data, hashlib.sha256(data).hexdigest()

    def replace(self, key: str, data: bytes, tag: str) -> bool:
        with self._lock(key):
            result = self.load(key)
            if result is None or result[1] != tag:
                return False
            self.write(key, data)
        return True

    def list(self, prefix: str, after: str = "") -> list[Entry]:
        result = (entry for entry in self._walk(prefix) if not _is_hidden(entry.key) and entry.key > after)
        return sorted(result, key=lambda entry: entry.key)

    def leftovers(self) -> list[Entry]:
        return [entry for entry in self._walk("") if _is_hidden(entry.key) and entry.key.endswith(TEMPORARY_SUFFIX)]

    def delete(self, key: str) -> None:
        try:
            folder, _, name = check_key(self.root, key).rpartition("/")
            (self._inside(folder) if folder else Path(self.root)).joinpath(name).unlink(missing_ok=True)
        except OSError as error:
            raise self._fault(key, "removed", error) from None

    def now(self) -> float:
        probe = Path(self.root, f".clock.{secrets.token_hex(8)}{TEMPORARY_SUFFIX}")
        try:
            _make_folder(Path(self.root))
            with probe.open("xb") as stream:
                return os.fstat(stream.fileno()).st_mtime
        except OSError as error:
            raise self._fault(probe.name, "written", error) from None
        finally:
            with contextlib.suppress(OSError):
                probe.unlink(missing_ok=True)

    def _put(self, key: str, data: bytes | memoryview, give_name: Callable[[Path, Path], None]) -> None:
        """Write the data to a temporary file, give it its final name, and sync the folder."""
        path = self._inside(key)
        for tries_left in reversed(range(_TRIES)):
            part = path.with_name(f".{path.name}.{secrets.token_hex(8)}{TEMPORARY_SUFFIX}")
            try:
                _make_folder(path.parent)
                with part.open("xb") as stream:
                    stream.write(data)
                    stream.flush()
                    os.fsync(stream.fileno())
                failpoints.hit("write.part")
                give_name(part, path)
                failpoints.hit("write.linked")
                _sync_folder(path.parent)
            except FileExistsError:
                raise
            except OSError as error:
                # A garbage collector with a fast clock may have removed the temporary file as a leftover.
                if not isinstance(error, FileNotFoundError) or not tries_left:
                    raise self._fault(key, "written", error) from None
            else:
                return
            finally:
                with contextlib.suppress(OSError):
                    part.unlink(missing_ok=True)

    def _link(self, part: Path, path: Path) -> None:
        try:
            os.link(part, path)
        except OSError as error:
            if error.errno in _NO_HARD_LINKS:
                raise ConditionsIgnoredError(_NEEDS_HARD_LINKS.format(self.root)) from None
            raise

    @contextlib.contextmanager
    def _lock(self, key: str) -> Iterator[None]:
        path = self._inside(key)
        try:
            _make_folder(path.parent)
            descriptor = os.open(
                path.with_name(f".{path.name}{LOCK_SUFFIX}"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666
            )
        except OSError as error:
            raise self._fault(key, "locked", error) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _walk(self, prefix: str) -> Iterator[Entry]:
        folders = [prefix.rstrip("/")]
        while folders:
            folder = folders.pop()
            try:
                with os.scandir(self._inside(folder) if folder else self.root) as entries:
                    for entry in entries:
                        key = f"{folder}/{entry.name}" if folder else entry.name
                        if entry.is_dir(follow_symlinks=False):
                            folders.append(key)
                            continue
                        with contextlib.suppress(FileNotFoundError):  # removed since it was listed
                            status = entry.stat(follow_symlinks=False)
                            yield Entry(key, status.st_size, status.st_mtime)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise self._fault(folder, "listed", error) from None

    def _inside(self, key: str) -> Path:
        """The path of a key.

        Raises:
            DamagedError: The path could lead outside of the store.
        """
        path = self.root
        for part in check_key(self.root, key).split("/"):
            path = f"{path}/{part}"
            if os.path.islink(path):
                raise DamagedError(
                    f"{path} is a symbolic link, which could lead out of the store, and was not followed: replace it "
                    "by the file or folder itself"
                )
        return Path(path)

    def _fault(self, key: str, verb: str, error: OSError) -> StoreError:
        return StoreError(f"{self.path(key)} cannot be {verb}: {error.strerror or type(error).__name__}")


def _is_hidden(key: str) -> bool:
    return key.rpartition("/")[2].startswith(".")


def _make_folder(folder: Path) -> None:
    """Create a folder and its parents, and sync them, so that they survive a power failure."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    try:
        folder.mkdir(exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from None
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
