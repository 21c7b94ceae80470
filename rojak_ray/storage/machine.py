"""Whether a directory's disk can be trusted with a log, found in what the kernel says of it.

A log needs a file system that keeps the order of its metadata (ext4 with its journal, xfs), a kernel whose `syncfs`
reports errors (5.8), and a way to tell a log whose pages are still in memory from one that a crash has left behind.
"""

from __future__ import annotations

import ctypes
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

LOG_VARIABLE = "ROJAK_STORAGE_LOG"
"""`on` in the environment: this process writes a log of its own where the disk is fit for one."""

AFTER_WRITES = 15

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_KERNEL = (5, 8)
_NETWORK = re.compile(r"nfs\d?|cifs|smb.*|9p|virtiofs|ceph|lustre|gpfs|beegfs.*|glusterfs|afs|ocfs2|gfs2|fuse.*")
_libc = ctypes.CDLL(None, use_errno=True)


def stamp() -> int:
    """Nanoseconds of the kernel's own clock: one for all processes of a machine, never set back."""
    return time.clock_gettime_ns(_CLOCK)


def syncfs(folder: int) -> None:
    """Make everything durable that was written to the file system of an open folder.

    Reports what failed since the folder was opened, so it must be open before the writes that count.
    """
    if _libc.syncfs(folder) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


@dataclass(frozen=True)
class Place:
    """What is known of a directory's file system, in this boot."""

    boot: str | None
    """The id of this boot; None where there is no such thing, and no log either."""
    mount: int = 0
    """A number of this mount of the file system, another one after each `mount`; 0 if the kernel does not show it."""
    ordered: bool = False
    """Whether a crash keeps a first part of all changes to folders, in their order."""
    kind: str = ""
    remote: bool = False
    """Whether another machine may have the same directory on a disk of its own."""

    @property
    def era(self) -> str:
        """What names of logs start with: while it is the same, what was written is in memory or on disk."""
        return f"{self.boot}.{self.mount}"

    @property
    def may_log(self) -> bool:
        """Whether a log is safe here."""
        return self.ordered and self.boot is not None and self.mount != 0

    def crashed(self, era: str) -> bool:
        """Whether a log of this era was left by a crash: an earlier boot, or an earlier mount in this one."""
        boot, _, mount = era.partition(".")
        return boot != self.boot or (mount not in {"0", str(self.mount)} and self.mount != 0)


@dataclass(frozen=True)
class LogSettings:
    """How to log, and where. Tests make their own, to log on any file system."""

    place: Place
    segment_bytes: int = 512 * 1024
    largest: int = 64 * 1024
    """Objects of more bytes are written without the log."""
    after_writes: int = AFTER_WRITES
    """So many writes of a process go without a log, so that short commands never make one."""
    checkpoint_s: float = 30.0


def find_place(
    root: str,
    *,
    proc: Path = Path("/proc"),
    sys: Path = Path("/sys"),
    shared: Path = Path("/var/lib/nfs/etab"),
    environ: Mapping[str, str] = os.environ,
) -> Place:
    """Look at the file system of an existing directory. What cannot be read counts against a log."""
    try:
        boot = _text(proc / "sys/kernel/random/boot_id").strip()
        mounts = _text(proc / "self/mountinfo")
        device = os.stat(root).st_dev
    except OSError:
        return Place(None)
    number = f"{os.major(device)}:{os.minor(device)}"
    kinds = (line.partition(" - ")[2].split()[0] for line in mounts.splitlines() if line.split()[2] == number)
    kind = next(kinds, "")
    if kind not in {"ext4", "xfs"}:
        return Place(boot, kind=kind, remote=_NETWORK.fullmatch(kind) is not None)
    try:
        about = sys / "fs" / kind / os.path.basename(os.path.realpath(sys / "dev/block" / number))
        mount = about.stat().st_ino  # the kernel makes this folder at each mount, with a new number
        journal = kind == "xfs" or _text(about / "journal_task").strip().isdecimal()
    except OSError:
        return Place(boot, kind=kind)
    willing = environ.get(LOG_VARIABLE, "").lower() in {"on", "1", "yes", "true"}
    return Place(boot, mount, journal and willing and _new_kernel(proc) and not _exports(shared, proc), kind)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def _new_kernel(proc: Path) -> bool:
    match = re.match(r"(\d+)\.(\d+)", _text(proc / "sys/kernel/osrelease"))
    return match is not None and (int(match[1]), int(match[2])) >= _KERNEL


def _exports(*lists: Path) -> bool:
    """Whether this machine serves its disks to others, who would not see what is only in its logs."""
    etab, proc = lists
    for path in (etab, proc / "fs/nfsd/exports"):
        try:
            if any(line.strip() and not line.startswith("#") for line in _text(path).splitlines()):
                return True
        except OSError:
            continue
    return False
