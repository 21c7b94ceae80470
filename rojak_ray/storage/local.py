"""A store in a directory: every object a file, created whole under its final name by a hard link.

Written here, not on fsspec, whose local driver checks and then writes: two writers can both believe they created a key.
Decision 0019 has the whole protocol.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

from rojak_ray.clock import Clock, SystemClock
from rojak_ray.errors import ObjectExists, ObjectNotFound, StoreUnavailable
from rojak_ray.ids import IdSource, RandomIds
from rojak_ray.storage.disk_errors import disk_error, unconfirmed
from rojak_ray.storage.folders import FOLDER_FLAGS, Folders
from rojak_ray.storage.frames import Frame, Op
from rojak_ray.storage.keys import check_data, check_key, check_limit, check_prefix, is_key
from rojak_ray.storage.machine import AFTER_WRITES, LogSettings, find_place, stamp
from rojak_ray.storage.pace import WritePace
from rojak_ray.storage.recovery import recover, write_all
from rojak_ray.storage.segments import find_segments
from rojak_ray.storage.settle import (
    CREATE_FLAGS,
    READ_FLAGS,
    TEMP_PREFIX,
    inode_at,
    is_left_over,
    is_temporary,
    logged_name,
    read_all,
    remove,
    settle,
    settle_as,
    unlink_quietly,
    unsettled,
)
from rojak_ray.storage.wal import GroupCommit, Log, LogUnavailable

_TEMP_MAX_AGE_S = 3600.0
_THREADS = 16

_T = TypeVar("_T")


@dataclass(frozen=True)
class _Placed:
    """An object under its key that only a log can make durable."""

    temp: str
    frame: Frame


class LocalStore:
    """Objects as files below `root`, which is made on the first write. Files have mode 0600, folders 0700.

    Disk work that may take long runs in threads of this store, so that the syncs of different sessions overlap and the
    event loop does not wait for a disk. Symbolic links are not followed when a folder below the root is first written
    to; whoever may replace folders of a running store could read and write the objects anyway.

    With `ROJAK_STORAGE_LOG=on`, small objects of a process that writes a lot go through a log (`.wal` below the root),
    where the disk and the system can be trusted with one: then a write is one append, shared by all writes under way.
    `log` says so in their place.
    """

    def __init__(
        self,
        root: Path | str,
        *,
        clock: Clock | None = None,
        ids: IdSource | None = None,
        log: LogSettings | None = None,
    ) -> None:
        self._root = os.path.abspath(root)
        self._clock = clock or SystemClock()
        self._ids = ids or RandomIds()
        self._pool: ThreadPoolExecutor | None = None
        self._pace = WritePace(self._clock)
        self._made = Folders(self._root)
        self._settings = log
        self._opening = threading.Lock()
        self._recovered = False
        self._log: Log | None = None
        self._group = GroupCommit(self._submit)
        self._may_log = True
        self._starting = False
        self._writes = 0
        """Since the last try to make a log."""

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

        Crash safety: what is not known to survive a loss of power is synced first, so that nothing is built on it.
        """
        check_key(key)
        return await self._in_thread(lambda: self._read(key))

    async def put_new(self, key: str, data: bytes) -> None:
        """Create an object: write a temporary file and link it to its name, then have the disk or the log confirm it.

        Crash safety: linking is atomic and refuses a taken name. A killed writer leaves a temporary file at most, or an
        object with two names, which its first reader settles. After a reply of `ObjectExists` the object found is
        durable too.
        """
        check_key(key)
        check_data(key, data)
        if not self._recovered:
            await self._in_thread(lambda: None)
        log = self._log_for(data)
        if log is not None:
            await self._put_logged(log, key, data)
            return
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
        """Let the disk work under way finish, end the threads, sync what only the log has. A later call starts anew."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await asyncio.to_thread(pool.shutdown)
        log, self._log = self._log, None
        if log is not None and log.process == os.getpid():
            await asyncio.to_thread(log.close)

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        """Do disk work, after what a crash may have left to do."""
        return await asyncio.get_running_loop().run_in_executor(self._threads(), lambda: self._do(work))

    def _submit(self, work: Callable[[], None]) -> None:
        self._threads().submit(work)

    def _threads(self) -> ThreadPoolExecutor:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="rojak-disk")
        return self._pool

    def _do(self, work: Callable[[], _T]) -> _T:
        if not self._recovered:
            self._recover()
        return work()

    def _recover(self) -> None:
        with self._opening:
            if self._recovered:
                return
            try:
                if find_segments(self._root):
                    recover(self._root, self._known_settings().place, self._ids)
            except OSError as error:
                raise disk_error(error, "recover", self._root, "") from error
            self._recovered = True

    def _known_settings(self) -> LogSettings:
        """What can be logged here. Asked when there is a root to look at."""
        if self._settings is None:
            self._settings = LogSettings(find_place(self._root))
        return self._settings

    def _log_for(self, data: bytes) -> Log | None:
        """The log for an object, if it goes into one. The first writes of a process have none."""
        log = self._my_log()
        if log is not None:
            return log if self._may_log and log.fits(len(data)) else None
        self._writes += 1
        after = AFTER_WRITES if self._settings is None else self._settings.after_writes
        if self._may_log and not self._starting and self._writes > after:
            self._starting, self._writes = True, 0
            self._submit(self._start_log)
        return None

    def _start_log(self) -> None:
        try:
            self._may_log = self._known_settings().place.may_log
            if self._may_log:
                self._open_log()
        except OSError:  # we do without for now
            return
        finally:
            self._starting = False

    def _open_log(self) -> Log:
        with self._opening:
            log = self._my_log()
            if log is None:
                log = self._log = Log(self._root, self._known_settings(), self._clock, self._ids)
                self._may_log = self._known_settings().place.may_log
            return log

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}"

    def _read(self, key: str) -> bytes:
        try:
            while True:
                file = os.open(self._path(key), READ_FLAGS)
                try:
                    found = os.fstat(file)
                    # What was opened may be torn, and removed and written anew by others while we settle it.
                    if not unsettled(found) or (
                        self._settle(key) and os.path.samestat(os.lstat(self._path(key)), found)
                    ):
                        return read_all(file)
                finally:
                    os.close(file)
        except (FileNotFoundError, IsADirectoryError):
            raise ObjectNotFound(f"{key} is not in {self._root}.", key=key) from None
        except OSError as error:
            raise disk_error(error, "read", self._path(key), key) from error

    def _settle(self, key: str) -> bool:
        folder = self._folder_of(key)
        if folder is None:
            return False
        try:
            return settle(folder, key.rpartition("/")[2])
        finally:
            os.close(folder)

    async def _put_logged(self, log: Log, key: str, data: bytes) -> None:
        """Create an object that the log makes durable. Cancelled, it stays with two names for somebody to settle."""
        started = self._clock.monotonic()
        beside, alone = self._pace.slow(), self._pace.alone()
        if beside:
            placed = await self._in_thread(lambda: self._place(log, key, data))
        else:
            placed = self._place(log, key, data)
            self._pace.wrote_inline(self._clock.monotonic() - started)
        if placed is None:
            return
        beside = beside or not alone or not log.ready(placed.frame)
        try:
            if beside:
                await self._group.commit(log, placed.frame)
                self._pace.wrote_beside()
            else:
                log.commit([placed.frame])
                self._pace.wrote_inline(self._clock.monotonic() - started)
        except LogUnavailable:
            await self._in_thread(lambda: self._confirm(key))
        except OSError as error:
            raise unconfirmed(error, self._path(key), key) from error
        unlink_quietly(None, placed.temp)
        if chore := log.chore():
            self._submit(chore)

    def _place(self, log: Log, key: str, data: bytes) -> _Placed | None:
        """Give an object its name, without any sync. None if it is durable already."""
        parent, _, name = key.rpartition("/")
        temp = logged_name(data, self._ids.new_id())
        folder = self._open_for(key)
        try:
            file = self._link(folder, key, temp, data, sync=False)
            try:
                # The stamp comes after the link. Who removes the object later than that has a later stamp, and so has
                # who writes the key anew; whoever is at either already is seen here.
                frame = Frame(Op.PUT, stamp(), key, data)
                mine = os.fstat(file)
                names = [inode_at(folder, temp), inode_at(folder, name)]
            finally:
                os.close(file)
            if mine.st_nlink == 2 and names == [mine.st_ino] * 2 and mine.st_dev == log.device:
                return _Placed(f"{self._root}/{parent}/{temp}", frame)
            # Settled by others, or being removed; or on a file system that the log's checkpoints do not reach.
            if names[1] == mine.st_ino:
                settle(folder, name)
            unlink_quietly(folder, temp)
        except OSError as error:
            raise unconfirmed(error, self._path(key), key) from error
        finally:
            os.close(folder)
        return None

    def _confirm(self, key: str) -> None:
        try:
            self._settle(key)
        except OSError as error:
            raise unconfirmed(error, self._path(key), key) from error

    def _write(self, key: str, data: bytes) -> None:
        """Create an object without the log."""
        temp = TEMP_PREFIX + self._ids.new_id()
        folder = self._open_for(key)
        try:
            os.close(self._link(folder, key, temp, data, sync=True))
            try:
                os.fsync(folder)
            except OSError as error:  # it keeps its two names, so that nobody relies on it before it is synced
                raise unconfirmed(error, self._path(key), key) from error
            unlink_quietly(folder, temp)
        finally:
            os.close(folder)

    def _open_for(self, key: str) -> int:
        try:
            return self._made.writable(key.rpartition("/")[0])
        except OSError as error:
            raise disk_error(error, "create a folder for", self._path(key), key) from error

    def _link(self, folder: int, key: str, temp: str, data: bytes, *, sync: bool) -> int:
        """Write a temporary file, link it to its key, and return it open.

        Raises:
            ObjectExists: The name is taken, and what is there is durable: the caller may find its own earlier write.
        """
        name, linked = key.rpartition("/")[2], False
        try:
            file = os.open(temp, CREATE_FLAGS, 0o600, dir_fd=folder)
            try:
                write_all(file, data)
                if sync:
                    os.fsync(file)
                linked = self._take(folder, name, temp, file)
            finally:
                if not linked:
                    os.close(file)
                    unlink_quietly(folder, temp)
        except OSError as error:
            raise disk_error(error, "write", self._path(key), key) from error
        if linked:
            return file
        if sync:
            try:
                os.fsync(folder)  # its writer may be of a version that left this to us
            except OSError as error:
                raise unconfirmed(error, self._path(key), key) from error
        raise ObjectExists(f"{key} exists already in {self._root}.", key=key)

    def _take(self, folder: int, name: str, temp: str, file: int) -> bool:
        """Link a file to a name; False if the name is taken by a whole object."""
        while True:
            try:
                os.link(temp, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
            except FileExistsError:
                # A network file system may repeat a request whose reply it lost, and so report our own link as taken.
                if os.fstat(file).st_nlink > 1:
                    return True
                if settle(folder, name):
                    return False
            else:
                return True

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
        path = f"{self._root}/{prefix}"
        names: dict[str, int] = {}
        temps: dict[int, list[str]] = {}
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    if is_left_over(entry.name):
                        if is_temporary(entry.name):
                            temps.setdefault(entry.inode(), []).append(entry.name)
                        self._sweep(entry)
                    elif part := _key_part(entry):
                        names[part] = entry.inode()
        except FileNotFoundError:
            return []
        unsettled_names = [name for name, inode in names.items() if inode in temps] if temps else []
        if unsettled_names:
            folder = os.open(path, FOLDER_FLAGS)
            try:
                for name in unsettled_names:
                    if not settle_as(folder, name, names[name], temps[names[name]]):
                        del names[name]
            finally:
                os.close(folder)
        return sorted(names)

    def _sweep(self, entry: os.DirEntry[str]) -> None:
        with contextlib.suppress(OSError):  # gone meanwhile, or not ours to remove
            found = entry.stat(follow_symlinks=False)
            if found.st_nlink == 1 and self._clock.now().timestamp() - found.st_mtime > _TEMP_MAX_AGE_S:
                os.unlink(entry.path)

    def _delete(self, key: str) -> None:
        parent, _, name = key.rpartition("/")
        removed = None
        try:
            boot, at = self._boot_of_logs(), stamp()
            folder = self._folder_of(key)
            if folder is not None:
                try:
                    settle(folder, name)  # so that nobody takes the next object of this name for a torn one
                    if boot is not None:
                        at, removed = remove(folder, name, boot)
                    else:
                        with contextlib.suppress(FileNotFoundError):
                            os.unlink(name, dir_fd=folder)
                    os.fsync(folder)  # also if it was gone: whoever removed it may not have got so far
                finally:
                    os.close(folder)
        except OSError as error:
            raise disk_error(error, "delete", self._path(key), key) from error
        try:
            self._log_removal(Frame(Op.DELETE, at, key))
        except OSError as error:
            words = f"{self._path(key)} was deleted, but the log did not confirm it ({error.strerror or error})."
            raise StoreUnavailable(words, key=key) from error
        if removed is not None:
            unlink_quietly(None, f"{self._root}/{parent}/{removed}")

    def _boot_of_logs(self) -> str | None:
        """The id of this boot, if anybody may have a log here."""
        if not os.path.isdir(self._root):
            return None
        place = self._known_settings().place
        return place.boot if place.may_log or find_segments(self._root) else None

    def _folder_of(self, key: str) -> int | None:
        """The key's folder, opened; None if there is none."""
        try:
            return os.open(self._path(key).rpartition("/")[0], FOLDER_FLAGS)
        except FileNotFoundError:
            return None

    def _my_log(self) -> Log | None:
        """This process's log, if it has one. A fork's copy is not: the parent goes on writing there."""
        log = self._log
        if log is not None and log.process != os.getpid():
            log = self._log = None
        return log

    def _log_removal(self, frame: Frame) -> None:
        """Keep a write in any process's log from being repeated by recovery. Also if nothing was there: see above."""
        log = self._my_log()
        if log is None and find_segments(self._root):
            log = self._open_log()
        if log is not None:
            log.commit([frame])


def _key_part(entry: os.DirEntry[str]) -> str:
    """The entry's part of a key, or nothing for what is not ours."""
    if not is_key(entry.name) or entry.is_symlink():
        return ""
    return f"{entry.name}/" if entry.is_dir(follow_symlinks=False) else entry.name
