"""A store in a directory: every object a file, created whole under its final name by a hard link.

Written here, not on fsspec, whose local driver checks and then writes: two writers can both believe they created a key.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TypeVar

from rojak_ray.clock import Clock, SystemClock
from rojak_ray.errors import ObjectExists, ObjectNotFound, StoreUnavailable
from rojak_ray.ids import IdSource, RandomIds
from rojak_ray.storage.disk_errors import disk_error
from rojak_ray.storage.keys import check_data, check_key, check_limit, check_prefix, is_key

TEMP_PREFIX = ".tmp-"
"""Unfinished files have names that no key can have."""

_TEMP_MAX_AGE_S = 3600.0
_THREADS = 16
_ALONE_S = 0.0015
_SLOW_S = 0.004
_SLOW_REST_S = 10.0
_KNOWN_FOLDERS = 10_000

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_CREATE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW

_T = TypeVar("_T")


class WritePace:
    """Decides whether the next write is made on the calling thread or on one of the pool.

    A thread costs a write 0.4 to 1 ms while Python code runs on the loop (each system call ends in a wait for the
    interpreter's lock), more than a quick disk takes. So a write that comes alone is made at once. Writes that come
    thick and fast go to the pool, where their syncs overlap; and so do all writes of a disk that was slow of late.
    """

    def __init__(self, clock: Clock) -> None:
        """Nothing is known of the disk yet."""
        self._clock = clock
        self._last_end = float("-inf")
        self._cost_s = _SLOW_S / 2
        self._try_again_at = float("-inf")

    def inline(self) -> bool:
        """Whether to write on the calling thread."""
        now = self._clock.monotonic()
        if self._cost_s >= _SLOW_S:
            if now < self._try_again_at:
                return False
            self._cost_s = _SLOW_S / 2
        return now - self._last_end >= _ALONE_S

    def wrote_inline(self, seconds: float) -> None:
        """A write on the calling thread took this long."""
        self._last_end = self._clock.monotonic()
        self._cost_s = 0.8 * self._cost_s + 0.2 * seconds
        if self._cost_s >= _SLOW_S:
            self._try_again_at = self._last_end + _SLOW_REST_S

    def wrote_beside(self) -> None:
        """A write on the pool ended."""
        self._last_end = self._clock.monotonic()


class LocalStore:
    """Objects as files below `root`, which is made on the first write. Files have mode 0600, folders 0700.

    All disk work runs in threads of this store, so that the syncs of different sessions overlap and the event loop
    never waits for a disk. Symbolic links are not followed when a folder below the root is first written to; whoever
    may replace folders of a running store could read and write the objects anyway.
    """

    def __init__(self, root: Path | str, *, clock: Clock | None = None, ids: IdSource | None = None) -> None:
        self._root = os.path.abspath(root)
        self._clock = clock or SystemClock()
        self._ids = ids or RandomIds()
        self._pool: ThreadPoolExecutor | None = None
        self._pace = WritePace(self._clock)
        # Folders whose own directory entry this process has made durable.
        self._known: set[str] = set()

    @property
    def url(self) -> str:
        """The root as a `file://` URL."""
        return Path(self._root).as_uri()

    @property
    def shared(self) -> bool:
        """True: for the processes of this machine, or of a cluster that mounts the directory."""
        return True

    async def get(self, key: str) -> bytes:
        """Read a whole file. A name exists only once the content is complete."""
        check_key(key)
        return await self._in_thread(lambda: self._read(key))

    async def put_new(self, key: str, data: bytes) -> None:
        """Create an object: write a temporary file, sync it, link it to its name, sync the folder.

        Crash safety: linking is atomic and refuses a taken name. A killed writer leaves a temporary file at most,
        which a later `list` of the folder removes. After a reply of `ObjectExists` the object found is durable too.
        """
        check_key(key)
        check_data(key, data)
        if not self._pace.inline():
            await self._in_thread(lambda: self._write(key, data))
            self._pace.wrote_beside()
            return
        started = self._clock.monotonic()
        try:
            self._write(key, data)
        finally:
            self._pace.wrote_inline(self._clock.monotonic() - started)

    async def list(self, prefix: str, *, after: str = "", limit: int | None = None) -> list[str]:
        """Walk the folder, and only it. Removes temporary files that are old enough to be nobody's."""
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
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}"

    def _read(self, key: str) -> bytes:
        try:
            with open(os.open(self._path(key), _READ_FLAGS), "rb") as file:
                return file.read()
        except (FileNotFoundError, IsADirectoryError):
            raise ObjectNotFound(f"{key} is not in {self._root}.", key=key) from None
        except OSError as error:
            raise disk_error(error, "read", self._path(key), key) from error

    def _write(self, key: str, data: bytes) -> None:
        parent, _, name = key.rpartition("/")
        try:
            folder = self._writable_folder(parent)
        except OSError as error:
            raise disk_error(error, "create a folder for", self._path(key), key) from error
        try:
            try:
                created = self._create(folder, name, data)
            except OSError as error:
                raise disk_error(error, "write", self._path(key), key) from error
            try:
                # Also when the name was taken: the caller may find its own earlier write there and rely on it.
                os.fsync(folder)
            except OSError as error:
                words = f"{self._path(key)} was written, but the disk did not confirm it ({error.strerror})."
                raise StoreUnavailable(words, key=key) from error
        finally:
            os.close(folder)
        if not created:
            raise ObjectExists(f"{key} exists already in {self._root}.", key=key)

    def _create(self, folder: int, name: str, data: bytes) -> bool:
        """Write and link one file; False if the name is taken."""
        temp = TEMP_PREFIX + self._ids.new_id()
        file = os.open(temp, _CREATE_FLAGS, 0o600, dir_fd=folder)
        try:
            _write_all(file, data)
            os.fsync(file)
            try:
                os.link(temp, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
            except FileExistsError:
                # A network file system may repeat a request whose reply it lost, and so report our own link as taken.
                return os.fstat(file).st_nlink > 1
            return True
        finally:
            os.close(file)
            with contextlib.suppress(OSError):  # the object is what counts; `list` sweeps what stays behind
                os.unlink(temp, dir_fd=folder)

    def _writable_folder(self, folder: str) -> int:
        """Open a folder whose existence survives a crash, making it if needed."""
        if folder in self._known:
            try:
                return os.open(f"{self._root}/{folder}", _FOLDER_FLAGS)
            except FileNotFoundError:
                self._known.clear()  # somebody removed folders by hand
        return self._make_folder(folder)

    def _make_folder(self, folder: str) -> int:
        """Walk down from the root, one segment at a time, without following links.

        A folder that exists is synced too the first time we meet it: the process that made it may not have got so far.
        """
        if "" not in self._known:
            _make_root(self._root)
            self._remember("")
        here = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY)
        walked = ""
        try:
            for segment in folder.split("/") if folder else ():
                walked = f"{walked}/{segment}" if walked else segment
                with contextlib.suppress(FileExistsError):
                    os.mkdir(segment, 0o700, dir_fd=here)
                if walked not in self._known:
                    os.fsync(here)
                    self._remember(walked)
                below = os.open(segment, _FOLDER_FLAGS, dir_fd=here)
                os.close(here)
                here = below
        except OSError:
            os.close(here)
            raise
        self._remember(folder)
        return here

    def _remember(self, folder: str) -> None:
        if len(self._known) >= _KNOWN_FOLDERS:
            self._known.clear()  # forgetting costs a sync, never safety
        self._known.add(folder)

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
        """What a folder holds of ours, in order; folders with their slash."""
        try:
            with os.scandir(f"{self._root}/{prefix}") as entries:
                return sorted(filter(None, map(self._key_part, entries)))
        except FileNotFoundError:
            return []

    def _key_part(self, entry: os.DirEntry[str]) -> str:
        """The entry's part of a key, or nothing for what is not ours."""
        if entry.name.startswith(TEMP_PREFIX):
            self._sweep(entry)
            return ""
        if not is_key(entry.name) or entry.is_symlink():
            return ""
        return f"{entry.name}/" if entry.is_dir(follow_symlinks=False) else entry.name

    def _sweep(self, entry: os.DirEntry[str]) -> None:
        with contextlib.suppress(OSError):  # gone meanwhile, or not ours to remove
            age = self._clock.now().timestamp() - entry.stat(follow_symlinks=False).st_mtime
            if age > _TEMP_MAX_AGE_S:
                os.unlink(entry.path)

    def _delete(self, key: str) -> None:
        parent, _, name = key.rpartition("/")
        try:
            folder = os.open(f"{self._root}/{parent}", _FOLDER_FLAGS)
            try:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=folder)
                os.fsync(folder)  # also if it was gone: whoever removed it may not have got so far
            finally:
                os.close(folder)
        except FileNotFoundError:
            return
        except OSError as error:
            raise disk_error(error, "delete", self._path(key), key) from error


def _write_all(file: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]


def _make_root(root: str) -> None:
    """Create the root and what is missing above it, and make the new names durable."""
    above = os.path.dirname(root)
    if not os.path.isdir(above):
        _make_root(above)
    with contextlib.suppress(FileExistsError):
        os.mkdir(root, 0o700)
    with contextlib.suppress(PermissionError):  # a folder above that we may pass through but not read
        folder = os.open(above, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
