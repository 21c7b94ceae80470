"""What a disk's error numbers mean for a caller: try again, or have a person act, and how."""

from __future__ import annotations

import errno
import os

from rojak_ray.errors import StorageError, StoreRefused, StoreUnavailable

_REMEDIES = {
    errno.ENOSPC: "The disk is full; free some space.",
    errno.EDQUOT: "The disk quota (of space or of files) is used up; free some or have it raised.",
    errno.EROFS: "The file system is mounted read-only; mount it writable or choose another place.",
    errno.EACCES: "This user has no permission; give it read and write access, or choose another place.",
    errno.EPERM: "The operating system does not permit it; give this user access, or choose another place. If it "
    "happens to every write, the file system has no hard links: choose one that does.",
    errno.EOPNOTSUPP: "This file system has no hard links, which safe writes need; choose another place.",
    errno.ENOSYS: "This file system has no hard links, which safe writes need; choose another place.",
    errno.EXDEV: "A folder of the store is on another file system; keep the whole store on one.",
    errno.EMLINK: "This file system allows no further links in the folder; choose another place.",
    errno.ENOTDIR: "A part of the path is a file, not a folder; move it away or choose another place.",
    errno.EISDIR: "There is a folder where an object should be; move it away.",
    errno.ELOOP: "A part of the path is a symbolic link, which a store does not follow; use the real path.",
    errno.ENAMETOOLONG: "The path is too long for this file system; choose a shorter place.",
    errno.ENXIO: "There is a socket or a pipe where an object should be; move it away.",
    errno.EFBIG: "The object is larger than this file system, or the limit of this process (ulimit -f), allows.",
}

_PASSING = {
    errno.EMFILE: "This process has as many files and connections open as it may; raise the limit (ulimit -n), or have "
    "it do less at once.",
    errno.ENFILE: "The machine has as many files open as it may; raise fs.file-max, or end something.",
    errno.ESTALE: "The network file system has forgotten the file; if it stays like this, mount it again.",
}
"""What may pass by itself, so that trying again is right, and what helps if it does not."""

_NO_INODES = "The file system has no inodes left (df -i), though it may have space; remove files, or make it with more."


def disk_error(error: OSError, verb: str, path: str, key: str) -> StorageError:
    """Our error for a failed system call that may be repeated without harm."""
    words = f"Could not {verb} {path}: {error.strerror or error}."
    number = error.errno or 0
    if number in _REMEDIES:
        remedy = _NO_INODES if number == errno.ENOSPC and _lacks_inodes(path) else _REMEDIES[number]
        return StoreRefused(f"{words} {remedy}", key=key)
    return StoreUnavailable(f"{words} {_PASSING.get(number, '')}".rstrip(), key=key)


def unconfirmed(error: OSError, path: str, key: str) -> StoreUnavailable:
    """Our error for a write that may have landed: whoever reads the key finds out."""
    return StoreUnavailable(
        f"{path} was written, but the disk did not confirm it ({error.strerror or error}).", key=key
    )


def _lacks_inodes(path: str) -> bool:
    """Whether the file system of a path (of the nearest folder above that exists) has no inodes left for us."""
    while True:
        try:
            found = os.statvfs(path)
        except FileNotFoundError:
            above = os.path.dirname(path)
            if above == path:
                return False
            path = above
        except OSError:
            return False
        else:
            return found.f_files > 0 and found.f_favail == 0
