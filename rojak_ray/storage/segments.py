"""The files of a log: `<root>/.wal/<boot>.<mount>.<process>.<id>`, pre-written with zeros, one writer each.

A segment's writer holds a lock on it. One that nobody holds is an orphan: its writer is dead or has closed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from dataclasses import dataclass

from rojak_ray.storage.folders import FOLDER_FLAGS
from rojak_ray.storage.machine import Place
from rojak_ray.storage.settle import CREATE_FLAGS, READ_FLAGS, read_all

FOLDER = ".wal"
"""No key starts with a dot."""

RECOVERED = (1 << 64) - 1
"""The stamp of a note that all of an era is in place, also what a disk error had put in doubt."""

_NEW = ".new-"
_MARK = ".synced."
_KEPT = "kept"
_CHUNK = bytes(64 * 1024)


@dataclass(frozen=True)
class SegmentName:
    """What a segment's name says."""

    text: str
    era: str
    kept: bool
    """Whether its entries may not be on disk, and a disk error is to blame. Only recovery removes such a segment."""


def segment_name(text: str) -> SegmentName | None:
    """The parts of a segment's name; None for other files."""
    parts = text.split(".")
    if text.startswith(".") or len(parts) != 4:
        return None
    boot, mount, process, _ = parts
    return SegmentName(text, f"{boot}.{mount}", process == _KEPT)


def find_segments(root: str) -> list[SegmentName]:
    """The segments of every process, in no order. Without a log there are none."""
    try:
        return [name for name in map(segment_name, os.listdir(f"{root}/{FOLDER}")) if name is not None]
    except FileNotFoundError:
        return []


def open_folder(root: str) -> int:
    """Open the log's folder, which must exist. The caller closes it."""
    return os.open(f"{root}/{FOLDER}", FOLDER_FLAGS)


def make_folder(root: str) -> int:
    """Open the log's folder, making it durable if it is new. The caller closes it."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(f"{root}/{FOLDER}", 0o700)
        above = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(above)
        finally:
            os.close(above)
    return open_folder(root)


class Segment:
    """A segment this process writes. Not for several threads at once."""

    def __init__(self, name: str, file: int, size: int) -> None:
        self.name = name
        self._file = file
        self._size = size
        self._at = 0
        self.broken = False
        """Whether a write failed. A sync repeated after a failed one may succeed although nothing was written."""

    @classmethod
    def create(cls, folder: int, place: Place, size: int, unique: str) -> Segment:
        """Make a segment that needs no change of metadata when it is written to, and lock it.

        Crash safety: it gets its name when it is locked and durable. Until then nobody takes it for an orphan, and a
        writer that dies leaves a `.new-` file, which the next checkpoint removes.
        """
        temp, name = f"{_NEW}{unique}", f"{place.era}.{os.getpid()}.{unique}"
        file = _create_locked(folder, temp)
        try:
            for start in range(0, size, len(_CHUNK)):
                write_at(file, _CHUNK[: size - start], start)
            os.fsync(file)
            os.rename(temp, name, src_dir_fd=folder, dst_dir_fd=folder)
            os.fsync(folder)
        except BaseException:
            os.close(file)
            for made in (temp, name):
                with contextlib.suppress(OSError):
                    os.unlink(made, dir_fd=folder)
            raise
        return cls(name, file, size)

    @property
    def used(self) -> float:
        """The part of the room that is taken."""
        return self._at / self._size

    def room(self, length: int) -> bool:
        """Whether so many bytes still fit."""
        return self._at + length <= self._size

    def append(self, data: bytes) -> None:
        """Write at the end and make it durable.

        Raises:
            OSError: Nothing is known of `data`, and the segment must not be written to again.
        """
        if self.broken:
            raise OSError("the segment is broken")
        self.broken = True
        write_at(self._file, data, self._at)
        os.fdatasync(self._file)
        if os.fstat(self._file).st_nlink == 0:
            raise OSError(f"somebody has removed the log {self.name}")
        self._at += len(data)
        self.broken = False

    def close(self) -> None:
        """Let go of the file and its lock."""
        os.close(self._file)


def _create_locked(folder: int, temp: str) -> int:
    """Make a file that only its lock keeps from being swept."""
    while True:
        file = os.open(temp, CREATE_FLAGS, 0o600, dir_fd=folder)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            if os.fstat(file).st_nlink > 0:
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)


def write_at(file: int, data: bytes, at: int) -> None:
    """Write all of it."""
    rest = memoryview(data)
    while rest:
        done = os.pwrite(file, rest, at)
        rest, at = rest[done:], at + done


def read_segment(folder: int, name: str) -> bytes:
    """A segment's bytes; nothing if it is gone."""
    try:
        file = os.open(name, READ_FLAGS, dir_fd=folder)
    except FileNotFoundError:
        return b""
    try:
        return read_all(file)
    finally:
        os.close(file)


def lock_if_free(folder: int, name: str) -> int | None:
    """Lock a segment that nobody holds. The caller closes the file, which unlocks it."""
    try:
        file = os.open(name, READ_FLAGS, dir_fd=folder)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    return file


def keep(folder: int, name: SegmentName) -> None:
    """Have a segment stay until recovery has read it."""
    os.rename(name.text, f"{name.era}.{_KEPT}.{name.text.rpartition('.')[2]}", src_dir_fd=folder, dst_dir_fd=folder)
    os.fsync(folder)


def mark_synced(folder: int, era: str, stamp: int) -> None:
    """Note that whatever was written up to a stamp is durable in place, so that no log need be asked about it.

    Crash safety: the note is one empty file's name. It outlives the segments, since removals must not be forgotten
    before the writes they took back: those may stand in another process's segment.
    """
    with contextlib.suppress(FileExistsError):  # a recovery that was cut short
        os.close(os.open(f"{_MARK}{era}.{stamp}", CREATE_FLAGS, 0o600, dir_fd=folder))
    os.fsync(folder)
    forget_marks(folder, era, before=stamp)


def forget_marks(folder: int, era: str, *, before: float = float("inf")) -> None:
    """Remove such notes: the older ones, or all when there is no segment left."""
    for name, its_era, stamp in marks(folder):
        if its_era == era and stamp < before:
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=folder)


def marks(folder: int) -> list[tuple[str, str, int]]:
    """Every such note: its name, era and stamp."""
    found: list[tuple[str, str, int]] = []
    for name in os.listdir(folder):
        era, _, number = name.removeprefix(_MARK).rpartition(".")
        if name.startswith(_MARK) and number.isdecimal():
            found.append((name, era, int(number)))
    return found


def sweep_unfinished(folder: int) -> None:
    """Remove what writers that died have left of segments they were making."""
    for name in os.listdir(folder):
        if name.startswith(_NEW) and (file := lock_if_free(folder, name)) is not None:
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=folder)
            os.close(file)
