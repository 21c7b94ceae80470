"""Folders of a local store that survive a crash, made without following links, and missed when they go."""

from __future__ import annotations

import contextlib
import os
import stat

from rojak_ray.errors import StoreRefused
from rojak_ray.logs import get_logger

logger = get_logger(__name__)

FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW

_KNOWN_FOLDERS = 10_000


class Folders:
    """Opens folders below a root for writing, and remembers which of them this process knows to be durable.

    A folder is made once. What this process has seen and is gone later was removed by somebody else (a volume that is
    not mounted any more, a cleaner of /tmp): making it again would acknowledge records whose predecessors are lost.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        # Folders whose own directory entry this process has made durable.
        self._known: set[str] = set()
        # The root and folders right below it that this process has found there. Both sets are shared by threads.
        self._seen: set[str] = set()
        self._looked_at = False

    def writable(self, folder: str) -> int:
        """Open a folder whose existence survives a crash, making it if this process has not seen it. To be closed.

        Raises:
            StoreRefused: It was there, and is gone.
        """
        if folder in self._known:
            try:
                return os.open(f"{self._root}/{folder}", FOLDER_FLAGS)
            except FileNotFoundError:
                raise self._gone(folder) from None
        return self._make(folder)

    def seen(self, key: str) -> None:
        """Something below the root was found under this key."""
        top, below, _ = key.partition("/")
        self._seen.update(("", top) if below else ("",))

    def check(self) -> None:
        """Look whether the root and the folders right below it are still there, before an absence is believed.

        Raises:
            StoreRefused: One of those that were seen is gone.
        """
        for folder in list(self._seen):
            try:
                os.lstat(f"{self._root}/{folder}")
            except (FileNotFoundError, NotADirectoryError):
                raise self._gone(folder) from None

    def _gone(self, folder: str) -> StoreRefused:
        return StoreRefused(
            f"{self._root}/{folder} was there and is gone: the storage was removed, emptied or unmounted while it was "
            "in use. Put it back (mount the volume, restore the folder), and work goes on. To begin anew in the empty "
            "place, end every program that uses it and start them again."
        )

    def _make(self, folder: str) -> int:
        """Walk down from the root, one segment at a time, without following links.

        A folder that exists is synced too the first time we meet it: the process that made it may not have got so far.
        """
        self.check()
        if "" not in self._known:
            _make_root(self._root)
            self._remember("")
        self._look_at_root()
        try:
            here = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            raise self._gone("") from None
        walked = ""
        try:
            for segment in folder.split("/") if folder else ():
                walked = f"{walked}/{segment}" if walked else segment
                here = self._step_into(here, segment, walked)
        except BaseException:
            os.close(here)
            raise
        self._remember(folder)
        return here

    def _step_into(self, here: int, segment: str, walked: str) -> int:
        """Open a folder below an open one, which is closed in exchange."""
        if walked not in self._known:
            with contextlib.suppress(FileExistsError):
                os.mkdir(segment, 0o700, dir_fd=here)
            os.fsync(here)
            self._remember(walked)
        try:
            below = os.open(segment, FOLDER_FLAGS, dir_fd=here)
        except FileNotFoundError:
            raise self._gone(walked) from None
        os.close(here)
        return below

    def _remember(self, folder: str) -> None:
        if len(self._known) >= _KNOWN_FOLDERS:
            self._known.clear()  # forgetting costs a sync, never safety: what was seen of the place is kept
        self._known.add(folder)
        if "/" not in folder:
            self._seen.update(("", folder))

    def _look_at_root(self) -> None:
        """Say once that others can replace what is stored."""
        if self._looked_at:
            return
        self._looked_at = True
        if remark := open_to_others(self._root):
            logger.warning("%s", remark)


def open_to_others(root: str) -> str | None:
    """What to know about a root that other users may write to; None if they may not, or it is not there."""
    try:
        found = os.stat(root)
    except OSError:
        return None
    mode = stat.S_IMODE(found.st_mode)
    if not mode & 0o022:
        return None
    return (
        f"{root} can be written to by other users (mode {mode:04o}): they can move away what is stored there and put "
        f"something else in its place. Close it: chmod 700 {root}"
    )


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
