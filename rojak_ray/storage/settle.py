"""Objects with two names: a write under way or cut short, and how whoever meets one makes up its mind.

A writer makes an object under a temporary name, links it to its key, makes that durable, and only then removes the
temporary name. So an object whose file has one name is durable, or stands in a log that is. One with two names is
unsettled: its writer is still at it, or died, or the machine did.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import stat
import zlib
from collections.abc import Iterable

from rojak_ray.storage.machine import stamp

TEMP_PREFIX = ".tmp-"
"""Unfinished files have names that no key can have. This one's content is synced before it is linked to a key."""

LOGGED_PREFIX = ".log-"
"""This one's content is in a log, or not yet; the name says what it is: `.log-<crc32>-<length>-<id>`."""

_REMOVED_PREFIX = ".del-"

CREATE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW

_REMOVED = re.compile(r"\.del-([0-9a-f]{8})-(\d{1,20})-(.+)")
_LOGGED = re.compile(r"\.log-([0-9a-f]{8})-(\d{1,20})-.+")


def logged_name(data: bytes, unique: str) -> str:
    """The temporary name of a file that will not be synced before it is linked."""
    return f"{LOGGED_PREFIX}{zlib.crc32(data):08x}-{len(data)}-{unique}"


def remove(folder: int, name: str, boot: str) -> tuple[int, str | None]:
    """Announce the removal of an object, if there is one, and unlink it. Returns what `announce` does.

    The file is locked meanwhile, as in `_remove_torn`: of two who remove the same object, the second must not remove
    what was written there after the first.
    """
    while True:
        at, found = stamp(), _stat(folder, name)
        if found is None or not stat.S_ISREG(found.st_mode):
            return at, None
        try:
            file = os.open(name, READ_FLAGS, dir_fd=folder)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            if inode_at(folder, name) == os.fstat(file).st_ino:
                answer = announce(folder, name, boot)
                with contextlib.suppress(FileNotFoundError):  # somebody removed it by hand
                    os.unlink(name, dir_fd=folder)
                return answer
        except FileNotFoundError:
            continue
        finally:
            os.close(file)


def announce(folder: int, name: str, boot: str) -> tuple[int, str]:
    """Give an object that is about to be removed a name that says so, and when. Returns the stamp, and that name.

    Crash safety: a process may die after it has removed an object and before the log knows. Whoever then writes the key
    anew, without the log, must not lose that to the older write that the log still has. The name goes once it knows.

    The stamp is later than that of the object's own write, if that is logged at all: a writer does not log what has a
    further name by the time of its stamp. And it is earlier than those of all writes that find the key free again.
    """
    first = f"{_REMOVED_PREFIX}{_short(boot)}-{stamp()}-{name}"
    os.link(name, first, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    at = stamp()
    removed = f"{_REMOVED_PREFIX}{_short(boot)}-{at}-{name}"
    os.rename(first, removed, src_dir_fd=folder, dst_dir_fd=folder)
    return at, removed


def removals(folder: int, boot: str) -> dict[str, int]:
    """Names whose removal in this boot was carried out, as far as the disk knows, with the stamps of the last ones."""
    found: dict[str, int] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            match = _REMOVED.fullmatch(entry.name)
            if match is None or match[1] != _short(boot) or inode_at(folder, match[3]) == entry.inode():
                continue
            found[match[3]] = max(int(match[2]), found.get(match[3], 0))
    return found


def _short(boot: str) -> str:
    return f"{zlib.crc32(boot.encode()):08x}"


def is_left_over(name: str) -> bool:
    """Whether a file may be removed when it is old and has no other name."""
    return name.startswith((TEMP_PREFIX, LOGGED_PREFIX, _REMOVED_PREFIX))


def is_temporary(name: str) -> bool:
    """Whether a file is somebody's unfinished one."""
    return name.startswith((TEMP_PREFIX, LOGGED_PREFIX))


def unsettled(found: os.stat_result) -> bool:
    """Whether a file has to be looked into before it is relied upon."""
    return found.st_nlink > 1 and stat.S_ISREG(found.st_mode)


def settle(folder: int, name: str) -> bool:
    """Make an object durable if it is whole, and remove it if it is not. False if nothing is there (any more).

    Crash safety: may be cut short anywhere and repeated by anybody, beside others and beside the writer. A file with
    further names that are not ours is a backup's doing, and left as it is.
    """
    found = _stat(folder, name)
    while found is not None and unsettled(found):
        with os.scandir(folder) as entries:
            temps = [entry.name for entry in entries if is_temporary(entry.name) and entry.inode() == found.st_ino]
        if temps:
            return settle_as(folder, name, found.st_ino, temps)
        before, found = found, _stat(folder, name)
        if found is not None and found.st_ino == before.st_ino:
            return True
    return found is not None


def _stat(folder: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def inode_at(folder: int, name: str) -> int | None:
    """The inode that a name stands for now."""
    found = _stat(folder, name)
    return None if found is None else found.st_ino


def settle_as(folder: int, name: str, inode: int, temps: Iterable[str]) -> bool:
    """Settle an object whose temporary names are known."""
    for temp in temps:
        try:
            file = os.open(temp, READ_FLAGS, dir_fd=folder)
        except FileNotFoundError:
            return settle(folder, name)  # its writer, or somebody else, has settled it: look which way
        try:
            if os.fstat(file).st_ino != inode:
                continue
            if not _whole(file, temp):
                return _remove_torn(folder, name, file, temp)
            if temp.startswith(LOGGED_PREFIX):
                os.fsync(file)
        finally:
            os.close(file)
        os.fsync(folder)
        unlink_quietly(folder, temp)
    return True


def unlink_quietly(folder: int | None, temp: str) -> None:
    """Remove a temporary name; what stays behind is settled or swept by whoever meets it."""
    with contextlib.suppress(OSError):
        os.unlink(temp, dir_fd=folder)


def _whole(file: int, temp: str) -> bool:
    match = _LOGGED.fullmatch(temp)
    if match is None:
        return True
    length = int(match[2])
    if os.fstat(file).st_size != length:
        return False
    data = read_all(file)
    return len(data) == length and f"{zlib.crc32(data):08x}" == match[1]


def _remove_torn(folder: int, name: str, file: int, temp: str) -> bool:
    """Remove what a crash of the machine has torn. True if something else stands under the name by now.

    The file is locked meanwhile: two who found it torn must not both remove its name, or the second could remove what
    somebody wrote there after the first.
    """
    fcntl.flock(file, fcntl.LOCK_EX)  # ends with the file's closing
    there = _stat(folder, name)
    if there is not None and there.st_ino != os.fstat(file).st_ino:
        return settle(folder, name)
    if there is not None:
        os.unlink(name, dir_fd=folder)
        os.fsync(folder)
    unlink_quietly(folder, temp)
    return False


def read_all(file: int) -> bytes:
    """The whole content of an open file, read from its start."""
    parts: list[bytes] = []
    at = 0
    while part := os.pread(file, 1 << 20, at):
        parts.append(part)
        at += len(part)
    return b"".join(parts)
