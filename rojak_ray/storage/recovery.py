"""After a crash of the machine: what stands in its logs is put in place before anybody looks at the store."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from dataclasses import dataclass
from itertools import groupby

from rojak_ray.errors import StoreRefused
from rojak_ray.ids import IdSource
from rojak_ray.storage.folders import Folders
from rojak_ray.storage.frames import Frame, Op, decode, outcome
from rojak_ray.storage.keys import is_key
from rojak_ray.storage.machine import Place
from rojak_ray.storage.segments import (
    FOLDER,
    RECOVERED,
    SegmentName,
    find_segments,
    lock_if_free,
    mark_synced,
    marks,
    open_folder,
    read_segment,
    sweep_unfinished,
)
from rojak_ray.storage.settle import CREATE_FLAGS, READ_FLAGS, TEMP_PREFIX, read_all, removals, unlink_quietly

_log = logging.getLogger(__name__)


def recover(root: str, place: Place, ids: IdSource) -> None:
    """Bring a store up to what was acknowledged before a crash, if there was one.

    Crash safety: comes before every other operation, in every process of the new boot; they wait for the first one.
    Each step may be repeated, and the logs go last.

    Raises:
        OSError: The store may not be used yet.
        StoreRefused: The log is not ours to read: another machine may be writing it.
    """
    found = find_segments(root)
    if not found:
        return
    if place.boot is None or place.remote:
        raise StoreRefused(
            f"{root} holds a log of the machine whose own disk it is on, and is seen here as {place.kind or 'another'} "
            "file system. Use it on that machine only; or unset ROJAK_STORAGE_LOG for everything there, then start "
            "and end one program that uses the store, so that its log is taken in."
        )
    if not any(place.crashed(segment.era) for segment in found):
        return
    folder = open_folder(root)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        _replay(root, folder, place, ids)
    finally:
        os.close(folder)


def _replay(root: str, folder: int, place: Place, ids: IdSource) -> None:
    found = find_segments(root)
    crashed = [segment for segment in found if place.crashed(segment.era)]
    if not crashed:
        return
    with contextlib.ExitStack() as held:
        for segment in crashed:
            file = lock_if_free(folder, segment.text)
            if file is None:
                words = f"The log {root}/{FOLDER}/{segment.text} is in use by another machine, as it seems."
                raise StoreRefused(f"{words} Use the store on that machine only, or end what uses it there.")
            held.callback(os.close, file)
        last = _last_operations(folder, found, crashed)
        writes = [write for write in last.values() if write.frame.op is Op.PUT and _sane(root, write.frame.key)]
        folders = Folders(root)
        for parent, group in groupby(sorted(writes, key=_parent), key=_parent):
            _put_in_place(folders.writable(parent), list(group), ids)
        # Noted first, for all of them: a segment with a removal may go before one with the write that it took back.
        for era in {segment.era for segment in crashed}:
            mark_synced(folder, era, RECOVERED)
        for segment in crashed:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(segment.text, dir_fd=folder)
        os.fsync(folder)
        for name, era, _ in marks(folder):
            if place.crashed(era):
                unlink_quietly(folder, name)
        sweep_unfinished(folder)
        os.fsync(folder)
    _log.warning("%s was not closed before the machine stopped: looked after %d objects.", root, len(writes))


@dataclass(frozen=True)
class _Last:
    """The last operation on a key, and the boot whose clock stamped it."""

    frame: Frame
    boot: str


def _last_operations(folder: int, found: list[SegmentName], crashed: list[SegmentName]) -> dict[str, _Last]:
    """The last operation on each key, over every boot that was not recovered from yet.

    Removals of any process count, also of one that has not crashed: it only shares the boot.
    """
    synced: dict[str, int] = {}
    for _, era, stamp in marks(folder):
        synced[era] = max(stamp, synced.get(era, 0))
    last: dict[str, _Last] = {}
    for boot in _boots(folder, crashed):
        frames: list[Frame] = []
        for segment in found:
            if segment.era.partition(".")[0] == boot:
                known = synced.get(segment.era, 0)
                if segment.kept and known != RECOVERED:
                    known = 0
                frames += (frame for frame in decode(read_segment(folder, segment.text)) if frame.stamp > known)
        last.update((key, _Last(frame, boot)) for key, frame in outcome(frames).items())
    return last


def _boots(folder: int, crashed: list[SegmentName]) -> list[str]:
    """The boots in the order of their last writing."""
    times: dict[str, float] = {}
    for segment in crashed:
        boot = segment.era.partition(".")[0]
        times[boot] = max(times.get(boot, 0.0), os.stat(segment.text, dir_fd=folder).st_mtime)
    return sorted(times, key=lambda boot: times[boot])


def _parent(write: _Last) -> str:
    return write.frame.key.rpartition("/")[0]


def _sane(root: str, key: str) -> bool:
    """Whether a key may become a path. Ours always may."""
    if is_key(key):
        return True
    _log.warning("A log of %s names %r, which is no key; it is left out.", root, key)
    return False


def _put_in_place(folder: int, writes: list[_Last], ids: IdSource) -> None:
    """Have a folder hold these objects, durably, but for those removed by who could not log it. Closes the folder."""
    try:
        removed = {boot: removals(folder, boot) for boot in {write.boot for write in writes}}
        for write in writes:
            frame, name = write.frame, write.frame.key.rpartition("/")[2]
            if removed[write.boot].get(name, 0) > frame.stamp:
                continue
            if _content(folder, name) != frame.data:
                _replace(folder, name, frame.data, f"{TEMP_PREFIX}{ids.new_id()}")
        os.fsync(folder)  # also for what was there: an earlier recovery may not have got so far
    finally:
        os.close(folder)


def _content(folder: int, name: str) -> bytes | None:
    try:
        file = os.open(name, READ_FLAGS, dir_fd=folder)
    except OSError:
        return None
    try:
        return read_all(file)
    except IsADirectoryError:
        return None
    finally:
        os.close(file)


def _replace(folder: int, name: str, data: bytes, temp: str) -> None:
    file = os.open(temp, CREATE_FLAGS, 0o600, dir_fd=folder)
    try:
        write_all(file, data)
        os.fsync(file)
        os.rename(temp, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        unlink_quietly(folder, temp)
        raise
    finally:
        os.close(file)


def write_all(file: int, data: bytes) -> None:
    """Write all of it."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]
