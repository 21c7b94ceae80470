"""A store in a directory: every object a file, created whole under its final name by a hard link.

Written here, not on fsspec, whose local driver checks and then writes: two writers can both believe they created a key.

A writer syncs a temporary file, links it to its key, syncs the folder, and only then removes the temporary name. So the
content of an object is durable from the moment it has a name, and the name is durable if it is the file's only one.
Whoever meets a file with two names syncs the folder before relying on it: its writer may not have got so far.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TypeVar

from rojak_ray.clock import Clock, SystemClock
from rojak_ray.errors import ObjectExists, ObjectNotFound, StoreRefused
from rojak_ray.ids import IdSource, RandomIds
from rojak_ray.storage.disk_errors import disk_error, unconfirmed
from rojak_ray.storage.folders import FOLDER_FLAGS, Folders
from rojak_ray.storage.keys import check_data, check_key, check_limit, check_prefix, is_key
from rojak_ray.storage.pace import WritePace

TEMP_PREFIX = ".tmp-"
"""Unfinished files have names that no key can have."""

LOG_FOLDER = ".wal"
"""Where commit 808e6d8 and those before it kept a write-ahead log, if asked to (decision 0019)."""

_TEMP_MAX_AGE_S = 3600.0
_THREADS = 16
_CREATE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # a pipe that somebody put there must not hold us
_CHUNK = 1 << 20

_T = TypeVar("_T")


class LocalStore:
    """Objects as files below `root`, which is made on the first write. Files have mode 0600, folders 0700.

    Disk work that may take long runs in threads of this store, so that the syncs of different sessions overlap and the
    event loop does not wait for a disk. Symbolic links are not followed when a folder below the root is first written
    to; whoever may replace folders of a running store could read and write the objects anyway.
    """

    def __init__(self, root: Path | str, *, clock: Clock | None = None, ids: IdSource | None = None) -> None:
        self._root = os.path.abspath(root)
        self._clock = clock or SystemClock()
        self._ids = ids or RandomIds()
        self._pool: ThreadPoolExecutor | None = None
        self._pace = WritePace(self._clock)
        self._made = Folders(self._root)
        self._checked = False

    @property
    def url(self) -> str:
        """The root as a `file://` URL."""
        return Path(self._root).as_uri()

    @property
    def shared(self) -> bool:
        """True: for the processes of this machine, or of a cluster that mounts the directory."""
        return True

    async def get(self, key: str) -> bytes:
        """Read a whole file. A name exists only once the content is complete.

        Crash safety: a name that may not be durable yet is made so first, so that nothing is built on it.
        """
        check_key(key)
        return await self._in_thread(lambda: self._read(key))

    async def put_new(self, key: str, data: bytes) -> None:
        """Create an object: write a temporary file, sync it, link it to its name, sync the folder.

        Crash safety: linking is atomic and refuses a taken name. A killed writer leaves a temporary name at most, which
        a later `list` of the folder removes. After a reply of `ObjectExists` the object found is durable too.
        """
        check_key(key)
        check_data(key, data)
        if not self._checked or not self._pace.inline():
            await self._in_thread(lambda: self._write(key, data))
            self._pace.wrote_beside()
            return
        started = self._clock.monotonic()
        try:
            self._write(key, data)
        finally:
            self._pace.wrote_inline(self._clock.monotonic() - started)

    async def list(self, prefix: str, *, after: str = "", limit: int | None = None) -> list[str]:
        """Walk the folder, and only it. Removes temporary names that are old enough to be nobody's."""
        check_prefix(prefix)
        check_limit(limit)
        return await self._in_thread(lambda: self._list(prefix, after, limit))

    async def folders(self, prefix: str) -> list[str]:
        """Look into one folder. Emptied folders are still there."""
        check_prefix(prefix)
        return await self._in_thread(lambda: self._folders(prefix))

    async def delete(self, key: str) -> None:
        """Remove a file and sync its folder. Emptied folders stay, so that no writer loses one under its feet."""
        check_key(key)
        await self._in_thread(lambda: self._delete(key))

    async def aclose(self) -> None:
        """Let the disk work under way finish and end the threads. A later call starts new ones."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await asyncio.to_thread(pool.shutdown)

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="rojak-disk")
        return await asyncio.get_running_loop().run_in_executor(self._pool, lambda: self._do(work))

    def _do(self, work: Callable[[], _T]) -> _T:
        if not self._checked:
            _refuse_log(self._root)
            self._checked = True
        return work()

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}"

    def _read(self, key: str) -> bytes:
        path = self._path(key)
        try:
            file = os.open(path, _READ_FLAGS)
            try:
                found = os.fstat(file)
                if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
                    raise OSError(errno.ENXIO, "it is no file")
                if found.st_nlink > 1:
                    _sync_folder(path.rpartition("/")[0])
                data = _read_all(file)
            finally:
                os.close(file)
        except (FileNotFoundError, IsADirectoryError):
            self._made.check()
            raise ObjectNotFound(f"{key} is not in {self._root}.", key=key) from None
        except OSError as error:
            raise disk_error(error, "read", path, key) from error
        self._made.seen(key)
        return data

    def _write(self, key: str, data: bytes) -> None:
        parent, _, name = key.rpartition("/")
        temp = TEMP_PREFIX + self._ids.new_id()
        try:
            folder = self._made.writable(parent)
        except OSError as error:
            raise disk_error(error, "create a folder for", self._path(key), key) from error
        try:
            try:
                created = _create(folder, name, temp, data)
            except OSError as error:
                raise disk_error(error, "write", self._path(key), key) from error
            try:
                # Also when the name was taken: the caller may find its own earlier write there and rely on it.
                os.fsync(folder)
            except OSError as error:  # the object keeps its two names, so that nobody relies on it before it is synced
                raise unconfirmed(error, self._path(key), key) from error
            if not created:
                raise ObjectExists(f"{key} exists already in {self._root}.", key=key)
            _unlink_quietly(folder, temp)
        finally:
            os.close(folder)

    def _list(self, prefix: str, after: str, limit: int | None) -> list[str]:
        try:
            return list(islice(self._walk(prefix, after), limit))
        except OSError as error:
            raise disk_error(error, "list", self._path(prefix), prefix) from error

    def _folders(self, prefix: str) -> list[str]:
        try:
            return [prefix + name for name in self._names(prefix) if name.endswith("/")]
        except OSError as error:
            raise disk_error(error, "list", self._path(prefix), prefix) from error

    def _walk(self, prefix: str, after: str) -> Iterator[str]:
        """Keys below a folder. Folders sort with their slash, which makes this the byte order of whole keys."""
        for name in self._names(prefix):
            key = prefix + name
            if not key.endswith("/"):
                if key > after:
                    yield key
            elif key > after or after.startswith(key):
                yield from self._walk(key, after)

    def _names(self, prefix: str) -> list[str]:
        """What a folder holds of ours, in order; folders with their slash. What is named here is durable."""
        path = f"{self._root}/{prefix}"
        names: dict[str, int] = {}
        temps: dict[str, int] = {}
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    if entry.name.startswith(TEMP_PREFIX):
                        temps[entry.name] = entry.inode()
                    elif part := _key_part(entry):
                        names[part] = entry.inode()
            if not set(temps.values()).isdisjoint(names.values()):
                _sync_folder(path)
        except FileNotFoundError:
            self._made.check()
            return []
        if names:
            self._made.seen(prefix + next(iter(names)))
        elif not prefix:
            self._made.check()
        for temp in temps:
            self._sweep(f"{path}/{temp}")
        return sorted(names)

    def _sweep(self, temp: str) -> None:
        with contextlib.suppress(OSError):  # gone meanwhile, or not ours to remove
            age_s = self._clock.now().timestamp() - os.lstat(temp).st_mtime
            if age_s > _TEMP_MAX_AGE_S:
                os.unlink(temp)

    def _delete(self, key: str) -> None:
        parent, _, name = key.rpartition("/")
        try:
            folder = os.open(f"{self._root}/{parent}", FOLDER_FLAGS)
            try:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=folder)
                os.fsync(folder)  # also if it was gone: whoever removed it may not have got so far
            finally:
                os.close(folder)
        except FileNotFoundError:
            self._made.check()
        except OSError as error:
            raise disk_error(error, "delete", self._path(key), key) from error


def _refuse_log(root: str) -> None:
    """Refuse a root whose last writer left a log: what is only there would be missing without a word.

    Raises:
        StoreRefused: The text says which version can put it in place.
    """
    with contextlib.suppress(OSError):  # there is none, or the operation itself will say why it cannot be read
        if any(not name.startswith(".") for name in os.listdir(f"{root}/{LOG_FOLDER}")):
            raise StoreRefused(
                f"{root} has a write-ahead log in {LOG_FOLDER}/, which this version does not read; some of what was "
                "acknowledged may be only there. The last version that reads it is commit 808e6d8 of rojak-ray: run it "
                "here with ROJAK_STORAGE_LOG=on and end it in the normal way, then start this version."
            )


def _create(folder: int, name: str, temp: str, data: bytes) -> bool:
    """Write and link one file, which keeps its temporary name; False, and no temporary name, if the name is taken."""
    created = False
    file = os.open(temp, _CREATE_FLAGS, 0o600, dir_fd=folder)
    try:
        _write_all(file, data)
        os.fsync(file)
        try:
            os.link(temp, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
            created = True
        except FileExistsError:
            # A network file system may repeat a request whose reply it lost, and so report our own link as taken.
            created = os.fstat(file).st_nlink > 1
    finally:
        os.close(file)
        if not created:
            _unlink_quietly(folder, temp)
    return created


def _unlink_quietly(folder: int, temp: str) -> None:
    """Remove a temporary name; one that stays behind is removed by a later listing."""
    with contextlib.suppress(OSError):
        os.unlink(temp, dir_fd=folder)


def _sync_folder(path: str) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _write_all(file: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]


def _read_all(file: int) -> bytes:
    parts: list[bytes] = []
    while part := os.read(file, _CHUNK):
        parts.append(part)
    return b"".join(parts)


def _key_part(entry: os.DirEntry[str]) -> str:
    """The entry's part of a key, or nothing for what is not ours."""
    if not is_key(entry.name) or entry.is_symlink():
        return ""
    return f"{entry.name}/" if entry.is_dir(follow_symlinks=False) else entry.name
