"""Timers of conversations that no process holds, and the alarm clock that wakes them.

A timer is an object whose name begins with its minute, so what is due is what a listing shows first. Timers are hints:
the journal knows what is to be done, and one too many or too early changes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime

from rojak_ray.clock import Clock
from rojak_ray.core.commands import CheckTimers
from rojak_ray.errors import ObjectExists, ObjectNotFound, RequestError, RojakError
from rojak_ray.journal.paths import Owner, Paths
from rojak_ray.logs import get_logger
from rojak_ray.sessions.requests import Ask, Reply
from rojak_ray.storage.base import Store

logger = get_logger(__name__)

_PAGE = 1000
"""Timers in one listing; the earliest come first."""

_AT_ONCE = 250
"""Owners that are being woken at a time. Each is bounded by the deadlines of storage or of a call."""


async def set_timer(store: Store, paths: Paths, owner: Owner, at: datetime) -> None:
    """Have an owner woken at `at` (at most some seconds later).

    Crash safety:
        Durable when it returns. A later timer does not replace an earlier one; the owner is woken for both.
    """
    timer = json.dumps({"kind": owner.kind, "id": owner.id, "at": at.isoformat()}, ensure_ascii=True)
    with contextlib.suppress(ObjectExists):
        await store.put_new(paths.timer(owner, at), timer.encode("ascii"))


async def has_timers(store: Store, paths: Paths) -> bool:
    """Whether anybody waits to be woken."""
    return bool(await store.list(paths.timers, limit=1))


async def remove_timers(store: Store, paths: Paths, owner: Owner, times: Iterable[datetime]) -> None:
    """Remove the timers of an owner that is gone; one that is left rings for nobody and is removed then."""
    for key in {paths.timer(owner, at) for at in times}:
        await store.delete(key)


class AlarmClock:
    """Wakes the owners whose timers are due. Two of them on one storage disturb nobody."""

    def __init__(self, store: Store, paths: Paths, clock: Clock, ask: Callable[[Owner, Ask], Awaitable[Reply]]) -> None:
        """`ask` brings a command to an owner's host, opening it if need be."""
        self._store = store
        self._paths = paths
        self._clock = clock
        self._ask = ask
        self._early: dict[str, datetime] = {}
        """Timers of this minute or an earlier one that are not due yet, so that they are not read again and again."""

        self._ringing: dict[str, asyncio.Task[bool]] = {}
        """Timers that are being read, or whose owners are being told. None of them waits for another."""

    async def run(self, every_s: float) -> None:
        """Look every so often until cancelled, without waiting for owners that take their time. For `background`.

        Raises:
            StorageError: The timers could not be listed; begin again.
        """
        try:
            while True:
                await self._start_due()
                await self._clock.sleep(every_s)
        finally:
            for task in self._ringing.values():
                task.cancel()

    async def ring(self) -> int:
        """Wake every owner whose timer is due, and wait until each was told; returns how many were.

        Raises:
            StorageError: The timers could not be listed.

        Crash safety:
            A timer is removed after its owner was told, so a crash in between tells it twice.
        """
        return sum(await asyncio.gather(*await self._start_due()))

    async def _start_due(self) -> list[asyncio.Task[bool]]:
        """Begin to wake those whose timers are due and who are not being woken yet."""
        now = self._clock.now()
        keys = await self._list_until(self._paths.timer(Owner("run", ""), now).rsplit("/", 1)[0] + "/~")
        listed = set(keys)
        self._early = {key: at for key, at in self._early.items() if key in listed}
        started: list[asyncio.Task[bool]] = []
        for key in keys:
            due = key not in self._ringing and self._early.get(key, now) <= now
            if due and len(self._ringing) < _AT_ONCE:
                task = asyncio.create_task(self._ring_one(key, now), name=f"ring {key}")
                self._ringing[key] = task
                task.add_done_callback(lambda _, key=key: self._ringing.pop(key, None))
                started.append(task)
        return started

    async def _list_until(self, end: str) -> list[str]:
        """The timers of this minute and earlier ones; all of them, as some may never be removed."""
        found: list[str] = []
        while True:
            page = await self._store.list(self._paths.timers, after=found[-1] if found else "", limit=_PAGE)
            found += [key for key in page if key < end]
            if len(page) < _PAGE or page[-1] >= end:
                return found

    async def _ring_one(self, key: str, now: datetime) -> bool:
        """Read one timer and tell its owner. Whatever is wrong with it is told in the log, and is its own matter."""
        try:
            owner = await self._due_owner(key, now)
            if owner is None:
                return False
            try:
                await self._ask(owner, Ask(commands=(CheckTimers(at=now),)))
            except RequestError as error:
                logger.info("the timer of %s is for nobody: %s", owner, error)
            await self._store.delete(key)
        except RojakError as error:
            logger.warning("the timer %s rings again, after %s: %s", key, type(error).__name__, error)
            return False
        except Exception:
            logger.exception("a bug stopped the timer %s, which rings again", key)
            return False
        return True

    async def _due_owner(self, key: str, now: datetime) -> Owner | None:
        """Whom a timer is for, if it is due and can be read."""
        try:
            timer = json.loads(await self._store.get(key))
            owner, at = Owner(timer["kind"], timer["id"]), datetime.fromisoformat(timer["at"])
            early = at > now
        except ObjectNotFound:
            return None
        except (ValueError, KeyError, TypeError) as error:
            logger.error("the timer %s cannot be read (%s); remove it", key, error)  # noqa: TRY400
            return None
        if early:
            self._early[key] = at
            return None
        return owner
