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

TEMP_PREFIX = ".tmp-"
"""Unfinished files have names that no key can have. This one's content is synced before it is linked to a key."""

LOGGED_PREFIX = ".log-"
"""This one's content is in a log, or not yet; the name says what it is: `.log-<crc32>-<length>-<id>`."""

CREATE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW

_LOGGED = re.compile(r"\.log-([0-9a-f]{8})-(\d{1,20})-.+")


def logged_name(data: bytes, unique: str) -> str:
    """The temporary name of a file that will not be synced before it is linked."""
    return f"{LOGGED_PREFIX}{zlib.crc32(data):08x}-{len(data)}-{unique}"


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
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    if not unsettled(found):
        return True
    with os.scandir(folder) as entries:
        temps = [entry.name for entry in entries if is_temporary(entry.name) and entry.inode() == found.st_ino]
    return settle_as(folder, name, found.st_ino, temps)


def settle_as(folder: int, name: str, inode: int, temps: Iterable[str]) -> bool:
    """Settle an object whose temporary names are known."""
    for temp in temps:
        try:
            file = os.open(temp, READ_FLAGS, dir_fd=folder)
        except FileNotFoundError:
            continue  # its writer, or somebody else, has settled it
        try:
            if os.fstat(file).st_ino != inode:
                continue
            if not _whole(file, temp):
                return _remove(folder, name, file, temp)
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


def _remove(folder: int, name: str, file: int, temp: str) -> bool:
    """Remove what a crash of the machine has torn. True if something else stands under the name by now.

    The file is locked meanwhile: two who found it torn must not both remove its name, or the second could remove what
    somebody wrote there after the first.
    """
    fcntl.flock(file, fcntl.LOCK_EX)  # ends with the file's closing
    try:
        there = os.stat(name, dir_fd=folder, follow_symlinks=False).st_ino == os.fstat(file).st_ino
    except FileNotFoundError:
        there = False
    else:
        if not there:
            return settle(folder, name)
    if there:
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
