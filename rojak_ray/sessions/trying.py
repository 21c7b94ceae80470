"""`Trying`: what a pool could not do, and does in the background as soon as it can be done."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from rojak_ray.clock import Clock
from rojak_ray.concurrency import background
from rojak_ray.errors import JournalDamaged, RequestError, RojakError, SchemaTooNew, StandsBy
from rojak_ray.logs import get_logger

logger = get_logger(__name__)

_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 15.0


class Trying:
    """Things that are tried again and again until they are done or cannot be; each once at a time."""

    def __init__(self, clock: Clock) -> None:
        """Nothing is tried."""
        self._clock = clock
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def __bool__(self) -> bool:
        """Whether anything still has to be done."""
        return bool(self._tasks)

    def __contains__(self, what: str) -> bool:
        """Whether this is being tried."""
        return what in self._tasks

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """To be cancelled in the end."""
        return list(self._tasks.values())

    def keep(self, what: str, act: Callable[[], Awaitable[object]]) -> None:
        """Do it in the background; nothing if it is being tried already."""
        if what in self._tasks:
            return
        task = background(
            what,
            lambda: until_done(act),
            self._clock,
            first_pause_s=_FIRST_PAUSE_S,
            longest_pause_s=_LONGEST_PAUSE_S,
        )
        self._tasks[what] = task
        task.add_done_callback(lambda _: self._tasks.pop(what, None))


async def until_done(act: Callable[[], Awaitable[object]]) -> None:
    """For `background`, which repeats what may pass; what cannot is told in the log."""
    try:
        await act()
    except RojakError as error:
        if may_pass(error) and not isinstance(error, StandsBy):
            raise
        logger.warning("left alone: %s", error)


def may_pass(error: BaseException | None) -> bool:
    """Whether what failed so may work later, without an object or a request being put right by a person.

    A bug counts too: it may be of this process, or of a moment. To try again costs little, and nobody else may be left
    to go on with the conversation.
    """
    return error is not None and not isinstance(error, JournalDamaged | SchemaTooNew | RequestError)
