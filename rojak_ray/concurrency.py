"""Work that goes on in the background whatever happens, and crowds of work done a few at a time."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import TypeVar

from rojak_ray.clock import Clock, SystemClock
from rojak_ray.errors import RojakError
from rojak_ray.logs import get_logger

logger = get_logger(__name__)

T = TypeVar("T")

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 15.0


def background(
    name: str,
    work: Callable[[], Awaitable[object]],
    clock: Clock,
    *,
    first_pause_s: float = FIRST_PAUSE_S,
    longest_pause_s: float = LONGEST_PAUSE_S,
) -> asyncio.Task[None]:
    """Run `work` in a task of its own, and again whenever it raises, until it returns or the task is cancelled.

    What it raises is logged: our own errors as a line, anything else, which is a bug, with its traceback. The pause
    before it is begun again doubles with each failure, and is short again after it has run longer than the longest.

    Args:
        name: What the work does, for the log and the task: "sweep idle hosts".
        work: Makes the coroutine. A loop that is to go on for ever never returns; it may keep what it knows outside.
        clock: For the pauses.
        first_pause_s: Before it is begun again for the first time.
        longest_pause_s: Between any two failures.

    Returns:
        The task, to be held by the caller and cancelled in the end. It raises nothing but its own cancellation.
    """
    return asyncio.create_task(_insist(name, work, clock, first_pause_s, longest_pause_s), name=name)


async def _insist(
    name: str, work: Callable[[], Awaitable[object]], clock: Clock, first_pause_s: float, longest_pause_s: float
) -> None:
    pause = first_pause_s
    while True:
        began = clock.monotonic()
        try:
            await work()
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and cancelled_by_us():
                raise
            if clock.monotonic() - began > longest_pause_s:
                pause = first_pause_s
            _report(name, error, pause)
        else:
            return
        await clock.sleep(pause)
        pause = min(2 * pause, longest_pause_s)


def _report(name: str, error: BaseException, pause: float) -> None:
    if isinstance(error, RojakError):
        logger.warning("could not %s, trying again in %g s: %s: %s", name, pause, type(error).__name__, error)
    else:
        logger.error("a bug stopped %r, which begins again in %g s", name, pause, exc_info=error)


def cancelled_by_us() -> bool:
    """Whether the running task was itself told to stop; else a cancellation it meets is that of something it awaits."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


ONE_AT_A_TIME = threading.Lock()
"""Held by a thread that reads a large value: several at once would leave an event loop beside them no time."""

_SLICE_S = 0.002
_BREATH_S = 0.0001
_NEVER = threading.Event()


class Breath:
    """Long work in a thread, which gives the interpreter to an event loop beside it every few milliseconds.

    Python by itself lets a thread go on for 5 ms whenever another one asks, and a loop asks several times a turn.
    """

    def __init__(self) -> None:
        """The work begins."""
        self._now = SystemClock().monotonic
        self._until = self._now() + _SLICE_S

    def take(self) -> None:
        """To be called after each small piece of work."""
        if self._now() >= self._until:
            _NEVER.wait(_BREATH_S)
            self._until = self._now() + _SLICE_S

    def over(self, work: Iterable[T], at_once: int) -> Iterator[list[T]]:
        """The items in order, so many at a time, with a breath after each lot."""
        items = iter(work)
        while lot := list(itertools.islice(items, at_once)):
            yield lot
            self.take()


async def at_most(number: int, work: Callable[[T], Awaitable[object]], items: Iterable[T]) -> None:
    """Do the work for every item, so many at a time; the first error is raised when all have had their turn."""
    limit = asyncio.Semaphore(number)

    async def one(item: T) -> None:
        async with limit:
            await work(item)

    results = await asyncio.gather(*(one(item) for item in items), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
