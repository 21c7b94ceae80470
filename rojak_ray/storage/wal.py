"""The log of one process: what was written is durable after one append, and put in place by the kernel at leisure.

Many frames share an append when they come at once. Every half minute of writing, and at the end, a checkpoint makes all
of the file system durable and removes segments, those of processes that died too.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import threading
from collections.abc import Callable, Sequence

from rojak_ray.clock import Clock
from rojak_ray.ids import IdSource
from rojak_ray.storage.frames import Frame, encode
from rojak_ray.storage.machine import LogSettings, stamp, syncfs
from rojak_ray.storage.segments import (
    Segment,
    SegmentName,
    find_segments,
    forget_marks,
    keep,
    lock_if_free,
    make_folder,
    mark_synced,
    sweep_unfinished,
)

_log = logging.getLogger(__name__)

_PREPARE_AT = 0.5


class LogUnavailable(OSError):
    """No segment could be made. Nothing was written."""


class Log:
    """Appends frames. Any thread may call anything; `commit` and `checkpoint` wait for the disk."""

    def __init__(self, root: str, settings: LogSettings, clock: Clock, ids: IdSource) -> None:
        """Make the first segment.

        Raises:
            OSError: There is no log, and nothing depends on it.
        """
        self.process = os.getpid()
        self._root = root
        self._settings = settings
        self._clock = clock
        self._ids = ids
        # Open before anything is logged, so that syncfs reports what goes wrong with it.
        self._disk = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        self.device = os.fstat(self._disk).st_dev
        self._lock = threading.Lock()
        self._checkpointing = threading.Lock()
        self._spare: Segment | None = None
        self._full: list[Segment] = []
        self._closed = self._wants_spare = self._written = False
        self._due_at = clock.monotonic() + settings.checkpoint_s
        try:
            if self._find_orphans():
                self._written, self._due_at = True, clock.monotonic()
            self._current: Segment | None = self._create()
        except OSError:
            os.close(self._disk)
            raise

    def ready(self, frame: Frame) -> bool:
        """Whether a commit would be one quick append now. Only a hint."""
        segment = self._current
        length = 64 + len(frame.key) + len(frame.data)
        return not self._lock.locked() and segment is not None and segment.room(length)

    def fits(self, length: int) -> bool:
        """Whether an object of this length goes into a log."""
        return length <= self._settings.largest

    def commit(self, frames: Sequence[Frame]) -> None:
        """Append frames and make them durable together.

        Crash safety: when this returns, all of them are found by `recover`. After an error some may be.

        Raises:
            LogUnavailable: No segment could be made.
            OSError: The disk did not confirm them.
        """
        with self._lock:
            batch = bytearray()
            for data in map(encode, frames):
                if self._current is None or not self._current.room(len(batch) + len(data)):
                    self._append(batch)
                    self._rotate()
                    batch.clear()
                batch += data
            self._append(batch)

    def _append(self, batch: bytearray) -> None:
        if not batch:
            return
        if self._current is None:
            raise LogUnavailable("there is no segment")
        self._written = True
        try:
            self._current.append(bytes(batch))
        except OSError:
            # Never again to this one. What it has kept so far may be gone with it, so a checkpoint is due.
            self._full.append(self._current)
            self._current = None
            self._due_at = self._clock.monotonic()
            raise
        self._wants_spare = self._spare is None and self._current.used >= _PREPARE_AT

    def _rotate(self) -> None:
        if self._current is not None:
            self._full.append(self._current)
        self._current, self._spare = self._spare, None
        if self._current is None:
            try:
                self._current = self._create()
            except OSError as error:
                raise LogUnavailable(error.errno, error.strerror) from error

    def _create(self) -> Segment:
        if self._closed:
            raise LogUnavailable("the store was closed")
        folder = make_folder(self._root)
        try:
            return Segment.create(folder, self._settings.place, self._settings.segment_bytes, self._ids.new_id())
        finally:
            os.close(folder)

    def chore(self) -> Callable[[], None] | None:
        """What should be done beside the writing, if anything: each is handed out once."""
        if self._written and self._clock.monotonic() >= self._due_at:
            with self._lock:
                self._due_at = self._clock.monotonic() + self._settings.checkpoint_s
            return self.checkpoint
        if self._wants_spare:
            self._wants_spare = False
            return self._prepare
        return None

    def _prepare(self) -> None:
        """Make the next segment before it is needed."""
        try:
            segment = self._create()
        except OSError as error:
            _log.warning("Could not make a log in %s (%s); the next write tries again.", self._root, error)
            return
        with self._lock:
            if self._spare is None and not self._closed:
                self._spare = segment
            else:
                self._full.append(segment)

    def close(self) -> None:
        """Make everything durable in place and remove our segments. Later commits find no log."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self.checkpoint(closing=True)
        os.close(self._disk)

    def checkpoint(self, *, closing: bool = False) -> None:
        """Make durable what was written, note it, and remove the segments that are full or whose writer is dead.

        Crash safety: segments go after the note is durable. Without them nothing is lost, with them nothing comes back:
        recovery leaves out what is older than the note. Errors are logged; the segments stay then.
        """
        with self._checkpointing, contextlib.ExitStack() as held:
            try:
                folder = self._lock_checkpoints(held, wait=closing)
                done = self._finished(closing=closing)
                for segment in done:
                    held.callback(segment.close)
                orphans = self._lock_orphans(folder, held)
                self._clear(folder, [segment.name for segment in done], orphans)
            except BlockingIOError:
                return  # another process is at it
            except OSError as error:
                _log.warning("Could not clear the log in %s (%s); it stays until the next start.", self._root, error)

    def _finished(self, *, closing: bool) -> list[Segment]:
        with self._lock:
            if closing:
                self._full += [segment for segment in (self._current, self._spare) if segment is not None]
                self._current = self._spare = None
            done, self._full = self._full, []
            self._written = False
            return done

    def _clear(self, folder: int, done: list[str], orphans: list[SegmentName]) -> None:
        place = self._settings.place
        if place.mount == 0:
            return  # removals only; who knows the mount may take them
        at = stamp()  # everything these segments speak of was done before
        try:
            syncfs(self._disk)
        except OSError:
            for name in (*(SegmentName(name, place.era, kept=False) for name in done), *orphans):
                keep(folder, name)
            raise
        mark_synced(folder, place.era, at)
        for name in (*done, *(orphan.text for orphan in orphans)):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=folder)
        if not find_segments(self._root):
            forget_marks(folder, place.era)
        sweep_unfinished(folder)

    def _lock_checkpoints(self, held: contextlib.ExitStack, *, wait: bool) -> int:
        """The log's folder, while no other process makes a checkpoint."""
        folder = make_folder(self._root)
        held.callback(os.close, folder)
        fcntl.flock(folder, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        return folder

    def _find_orphans(self) -> bool:
        """Whether there is something to take over."""
        with contextlib.ExitStack() as held:
            folder = make_folder(self._root)
            held.callback(os.close, folder)
            return bool(self._lock_orphans(folder, held))

    def _lock_orphans(self, folder: int, held: contextlib.ExitStack) -> list[SegmentName]:
        """Segments of this boot and mount that are nobody's any more, and ours until `held` is closed."""
        place = self._settings.place
        orphans: list[SegmentName] = []
        for name in find_segments(self._root):
            if name.era in {place.era, f"{place.boot}.0"} and not name.kept:
                file = lock_if_free(folder, name.text)
                if file is not None:
                    held.callback(os.close, file)
                    orphans.append(name)
        return orphans


class GroupCommit:
    """Lets writes that come at once share a commit: while one is under way, the next ones gather.

    A caller that is cancelled leaves its frame with the others: it is committed, and nobody is told.
    """

    def __init__(self, submit: Callable[[Callable[[], None]], object]) -> None:
        """`submit` runs a function on some thread, soon."""
        self._submit = submit
        self._lock = threading.Lock()
        self._waiting: list[tuple[Log, Frame, asyncio.Future[OSError | None]]] = []
        self._running = False

    async def commit(self, log: Log, frame: Frame) -> None:
        """Return when the frame is durable. Errors: as those of `Log.commit`."""
        answer: asyncio.Future[OSError | None] = asyncio.get_running_loop().create_future()
        with self._lock:
            self._waiting.append((log, frame, answer))
            start, self._running = not self._running, True
        if start:
            try:
                self._submit(self._run)
            except RuntimeError:  # the pool was closed under us
                self._run()
        error = await answer
        if error is not None:
            raise error

    def _run(self) -> None:
        while True:
            with self._lock:
                batch, self._waiting = self._waiting, []
                if not batch:
                    self._running = False
                    return
            for log in dict.fromkeys(log for log, _, _ in batch):
                outcome: OSError | None = OSError("the write was cut short")
                try:
                    log.commit([frame for its_log, frame, _ in batch if its_log is log])
                    outcome = None
                except OSError as error:
                    outcome = error
                finally:
                    _tell([answer for its_log, _, answer in batch if its_log is log], outcome)


def _tell(answers: list[asyncio.Future[OSError | None]], error: OSError | None) -> None:
    for loop in dict.fromkeys(answer.get_loop() for answer in answers):
        mine = [answer for answer in answers if answer.get_loop() is loop]
        with contextlib.suppress(RuntimeError):  # the loop was closed; its callers are gone
            loop.call_soon_threadsafe(_resolve, mine, error)


def _resolve(answers: list[asyncio.Future[OSError | None]], error: OSError | None) -> None:
    for answer in answers:
        if not answer.done():
            answer.set_result(error)
