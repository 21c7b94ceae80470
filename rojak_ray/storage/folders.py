"""Folders of a local store that survive a crash, made without following links."""

from __future__ import annotations

import contextlib
import os

FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW

_KNOWN_FOLDERS = 10_000


class Folders:
    """Opens folders below a root for writing, and remembers which of them this process knows to be durable."""

    def __init__(self, root: str) -> None:
        self._root = root
        # Folders whose own directory entry this process has made durable.
        self._known: set[str] = set()

    def writable(self, folder: str) -> int:
        """Open a folder whose existence survives a crash, making it if needed. The caller closes it."""
        if folder in self._known:
            try:
                return os.open(f"{self._root}/{folder}", FOLDER_FLAGS)
            except FileNotFoundError:
                self._known.clear()  # somebody removed folders by hand
        return self._make(folder)

    def _make(self, folder: str) -> int:
        """Walk down from the root, one segment at a time, without following links.

        A folder that exists is synced too the first time we meet it: the process that made it may not have got so far.
        """
        if "" not in self._known:
            _make_root(self._root)
            self._remember("")
        here = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY)
        walked = ""
        try:
            for segment in folder.split("/") if folder else ():
                walked = f"{walked}/{segment}" if walked else segment
                with contextlib.suppress(FileExistsError):
                    os.mkdir(segment, 0o700, dir_fd=here)
                if walked not in self._known:
                    os.fsync(here)
                    self._remember(walked)
                below = os.open(segment, FOLDER_FLAGS, dir_fd=here)
                os.close(here)
                here = below
        except OSError:
            os.close(here)
            raise
        self._remember(folder)
        return here

    def _remember(self, folder: str) -> None:
        if len(self._known) >= _KNOWN_FOLDERS:
            self._known.clear()  # forgetting costs a sync, never safety
        self._known.add(folder)


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
