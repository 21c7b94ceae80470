"""A disk that forgets: system calls go to a real directory, and are kept in mind to tell what a loss of power leaves.

Like ext4 and xfs: changes of folders survive as a first part of their order, at least up to the last sync that covers
them. Data that was not synced survives whole, in part, as zeros or not at all.
"""

from __future__ import annotations

import fcntl
import os
import random
import threading
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from unittest.mock import patch

Pause = Callable[[str], None]


class Stopped(BaseException):
    """The process, or the machine, is no more."""


@dataclass(eq=False)
class Inode:
    """A file or folder. `lost` are the writes that no sync has covered."""

    folder: bool
    data: bytearray = field(default_factory=bytearray)
    durable: bytes = b""
    lost: list[tuple[int, bytes]] = field(default_factory=list)


@dataclass(eq=False)
class Change:
    """A change of a folder: a name gets an inode or loses it."""

    subject: Inode
    adds: tuple[tuple[Inode, str], ...] = ()
    drops: tuple[tuple[Inode, str], ...] = ()


class Disk:
    """One directory and what is known of it. `pause` is called before each system call."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.pause: Pause = lambda _call: None
        self.on_open: Callable[[int], None] = lambda _file: None
        self.root = Inode(folder=True)
        self.names: dict[tuple[Inode, str], Inode] = {}
        self.changes: list[Change] = []
        self.committed = 0
        self.files: dict[int, Inode] = {}
        self.start: dict[tuple[Inode, str], Inode] = {}
        self.real = {name: getattr(os, name) for name in _CALLS}
        if os.path.isdir(base):
            self._load(base, self.root, {})
        self.start = dict(self.names)

    def _load(self, path: str, folder: Inode, seen: dict[int, Inode]) -> None:
        for entry in os.scandir(path):
            inode = seen.get(entry.inode())
            if inode is None:
                inode = seen[entry.inode()] = Inode(entry.is_dir())
                if inode.folder:
                    self._load(entry.path, inode, seen)
                else:
                    with open(entry.path, "rb") as file:
                        inode.durable = file.read()
                    inode.data[:] = inode.durable
            self.names[folder, entry.name] = inode

    # What the calls do to the model.

    def _place(self, path: str, dir_fd: int | None) -> tuple[Inode, str] | None:
        """The folder and the name that a path means; None outside of the base."""
        if dir_fd is not None:
            return self.files[dir_fd], path
        if not path.startswith(self.base + "/"):
            return None
        *above, name = path[len(self.base) + 1 :].strip("/").split("/")
        here = self.root
        for part in above:
            here = self.names[here, part]
        return here, name

    def _change(self, change: Change) -> None:
        for place in change.drops:
            self.names.pop(place, None)
        for place in change.adds:
            self.names[place] = change.subject
        self.changes.append(change)

    def _commit(self, *touching: Inode) -> None:
        for index in range(len(self.changes), self.committed, -1):
            change = self.changes[index - 1]
            parents = {folder for folder, _ in (*change.adds, *change.drops)}
            if change.subject in touching or parents & set(touching):
                self.committed = index
                return

    def _sync_data(self, inode: Inode) -> None:
        inode.durable, inode.lost = bytes(inode.data), []

    def open(self, path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        self.pause("open")
        file = self.real["open"](path, flags, mode, dir_fd=dir_fd)
        place = self._place(path, dir_fd) if path.rstrip("/") != self.base else (self.root, "")
        if place is not None:
            inode = self.root if not place[1] else self.names.get(place)
            if inode is None:
                inode = Inode(folder=False)
                self._change(Change(inode, adds=(place,)))
            self.files[file] = inode
        self.on_open(file)
        return file

    def write(self, file: int, data: bytes) -> int:
        return self.pwrite(file, data, len(self.files[file].data))

    def pwrite(self, file: int, data: bytes, at: int) -> int:
        self.pause("write")
        inode = self.files[file]
        self.real["pwrite"](file, data, at)
        data = bytes(data)
        inode.data[len(inode.data) : at] = bytes(max(0, at - len(inode.data)))
        inode.data[at : at + len(data)] = data
        inode.lost.append((at, data))
        return len(data)

    def fsync(self, file: int) -> None:
        self.pause("fsync")
        inode = self.files.get(file)
        if inode is not None:
            self._sync_data(inode)
            self._commit(inode)

    def fdatasync(self, file: int) -> None:
        self.pause("fdatasync")
        self._sync_data(self.files[file])

    def syncfs(self, _file: int) -> None:
        self.pause("syncfs")
        for inode in {*self.names.values(), *self.files.values()}:
            self._sync_data(inode)
        self.committed = len(self.changes)

    def link(self, old: str, new: str, *, src_dir_fd: int, dst_dir_fd: int, follow_symlinks: bool) -> None:
        self.pause("link")
        folder = self.files[src_dir_fd]
        self.real["link"](old, new, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd, follow_symlinks=follow_symlinks)
        self._change(Change(self.names[folder, old], adds=((folder, new),)))

    def unlink(self, path: str, *, dir_fd: int | None = None) -> None:
        self.pause("unlink")
        place = self._place(path, dir_fd)
        self.real["unlink"](path, dir_fd=dir_fd)
        if place is not None:
            self._change(Change(self.names[place], drops=(place,)))

    def rename(self, old: str, new: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        self.pause("rename")
        folder = self.files[src_dir_fd]
        self.real["rename"](old, new, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
        self._change(Change(self.names[folder, old], adds=((folder, new),), drops=((folder, old),)))

    def mkdir(self, path: str, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        self.pause("mkdir")
        self.real["mkdir"](path, mode, dir_fd=dir_fd)
        place = self._place(path, dir_fd)
        if place is not None:
            self._change(Change(Inode(folder=True), adds=(place,)))

    def close(self, file: int) -> None:
        """Always: a process that ends closes its files."""
        self.files.pop(file, None)
        self.real["close"](file)

    def flock(self, file: int, how: int) -> None:
        self.pause("flock")
        while True:
            try:
                _flock(file, how | fcntl.LOCK_NB)
            except BlockingIOError:
                if how & fcntl.LOCK_NB:
                    raise
                self.pause("wait")
            else:
                return

    @contextmanager
    def attached(self):
        """The calls of `os` go through this disk."""
        with ExitStack() as patches:
            for name in _CALLS:
                patches.enter_context(patch.object(os, name, getattr(self, name)))
            patches.enter_context(patch.object(fcntl, "flock", self.flock))
            patches.enter_context(patch("rojak_ray.storage.wal.syncfs", self.syncfs))
            yield self

    def lose_power(self, dice: random.Random, target: str) -> None:
        """Write into `target` what is left."""
        names = dict(self.start)
        least, most = self.committed, len(self.changes)
        for change in self.changes[: dice.choice([least, most, dice.randint(least, most)])]:
            for place in change.drops:
                names.pop(place, None)
            for place in change.adds:
                names[place] = change.subject
        self._write_out(self.root, target, names, {}, dice)

    def _write_out(
        self,
        folder: Inode,
        path: str,
        names: dict[tuple[Inode, str], Inode],
        done: dict[Inode, str],
        dice: random.Random,
    ) -> None:
        os.mkdir(path, 0o700)
        for (parent, name), inode in names.items():
            if parent is not folder:
                continue
            here = f"{path}/{name}"
            if inode.folder:
                self._write_out(inode, here, names, done, dice)
            elif inode in done:
                os.link(done[inode], here)
            else:
                done[inode] = here
                with open(here, "wb") as file:
                    file.write(left_of(inode, dice))


def left_of(inode: Inode, dice: random.Random) -> bytes:
    """A file's content after the loss of power."""
    if not inode.lost:
        return inode.durable
    fate = dice.choice(["whole", "nothing", "zeros", "cut", "mixed"])
    if fate == "whole":
        return bytes(inode.data)
    if fate == "nothing":
        return inode.durable
    left = bytearray(inode.durable)
    for at, data in inode.lost:
        part = data
        if fate == "zeros":
            part = bytes(len(data))
        elif fate == "cut":
            part = data[: dice.randint(0, len(data))]
        elif dice.random() < 0.5:
            continue
        left[len(left) : at] = bytes(max(0, at - len(left)))
        left[at : at + len(part)] = part
        if fate == "cut" and len(part) < len(data):
            break
    return bytes(left)


_CALLS = ("open", "write", "pwrite", "fsync", "fdatasync", "link", "unlink", "rename", "mkdir", "close")
_flock = fcntl.flock


class Turns:
    """Has several threads take turns: one runs until its next system call, then the dice say who goes on."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._lock = threading.Lock()
        self._gates: dict[int, threading.Semaphore] = {}
        self.current: int | None = None

    def run(self, works: list[Callable[[], None]]) -> None:
        """Run them to their ends."""
        self._gates = {number: threading.Semaphore(0) for number in range(len(works))}
        threads = [threading.Thread(target=self._one, args=(number, work)) for number, work in enumerate(works)]
        for thread in threads:
            thread.start()
        self._next()
        for thread in threads:
            thread.join()

    def _one(self, number: int, work: Callable[[], None]) -> None:
        self._gates[number].acquire()
        try:
            work()
        finally:
            del self._gates[number]
            self._next()

    def _next(self) -> None:
        if self._gates:
            self.current = self._dice.choice(list(self._gates))
            self._gates[self.current].release()

    def pause(self) -> None:
        """Called by the thread whose turn it is."""
        me = self.current
        assert me is not None
        if len(self._gates) == 1:
            return
        following = self._dice.choice(list(self._gates))
        if following != me:
            self.current = following
            self._gates[following].release()
            self._gates[me].acquire()
