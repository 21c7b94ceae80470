"""How many model calls one process has under way: no more than it may hold connections for, the rest wait their turn.

A process that has opened all the files it may open cannot write a record any more, so connections may take only a
part of them. All providers of a process share this part; each can be given a bound of its own besides.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from weakref import WeakKeyDictionary

MOST_DESCRIPTORS = 65_536
"""Asked for where the operating system lets a process raise its own limit."""

KEPT_BACK = 64
"""Descriptors that connections never take: storage has up to 16 files open at once, sessions have their links."""

LEAST_CALLS = 8
"""So many calls go on at once however few descriptors are left."""


def calls_for(limit: int, in_use: int) -> int:
    """How many calls a process may have under way.

    Args:
        limit: Files it may have open.
        in_use: Files it has open already.

    A connection stays open for a while after its call, and another provider's call opens one of its own: so only half
    of what is left is given to calls.
    """
    return max(LEAST_CALLS, (limit - in_use - max(KEPT_BACK, limit // 8)) // 2)


def raise_limit() -> int:
    """Let this process open as many files as it may let itself, up to `MOST_DESCRIPTORS`; the limit then in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # what is forbidden stays as it is
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            return wanted
    return MOST_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft


class CallSlots:
    """Places for the calls of one event loop; whoever finds none waits in order."""

    def __init__(self, places: int) -> None:
        """All are free."""
        self.places = places
        self._free = asyncio.Semaphore(places)

    @asynccontextmanager
    async def taken(self) -> AsyncGenerator[None]:
        """A place, for as long as the context lasts."""
        async with self._free:
            yield


class ProcessSlots:
    """The places that a process's limit on open files allows, for each of its event loops."""

    def __init__(self) -> None:
        """Nothing is counted before the first call."""
        self._of_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, CallSlots] = WeakKeyDictionary()

    def here(self) -> CallSlots:
        """Those of the running event loop."""
        loop = asyncio.get_running_loop()
        found = self._of_loop.get(loop)
        if found is None:
            found = self._of_loop[loop] = CallSlots(calls_for(raise_limit(), _open_files()))
        return found


PROCESS_SLOTS = ProcessSlots()
"""One for the process, as its limit on open files is."""


def _open_files() -> int:
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:  # not on Linux
        return 0
