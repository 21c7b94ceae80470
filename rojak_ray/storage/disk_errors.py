"""What a disk's error numbers mean for a caller: try again, or have a person act, and how."""

from __future__ import annotations

import errno

from rojak_ray.errors import StorageError, StoreRefused, StoreUnavailable

_REMEDIES = {
    errno.ENOSPC: "The disk is full; free some space.",
    errno.EDQUOT: "The disk quota is used up; free some space or have it raised.",
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
}


def disk_error(error: OSError, verb: str, path: str, key: str) -> StorageError:
    """Our error for a failed system call that may be repeated without harm."""
    words = f"Could not {verb} {path}: {error.strerror or error}."
    if error.errno in _REMEDIES:
        return StoreRefused(f"{words} {_REMEDIES[error.errno]}", key=key)
    return StoreUnavailable(words, key=key)


def unconfirmed(error: OSError, path: str, key: str) -> StoreUnavailable:
    """Our error for a write that may have landed: whoever reads the key finds out."""
    return StoreUnavailable(
        f"{path} was written, but the disk did not confirm it ({error.strerror or error}).", key=key
    )
