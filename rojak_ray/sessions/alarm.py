"""Timers of conversations that no process holds, and the alarm clock that wakes them.

A timer is an object whose name begins with its minute, so what is due is what a listing shows first. Timers are hints:
the journal knows what is to be done, and one too many or too early changes nothing.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from rojak_ray.clock import Clock
from rojak_ray.core.commands import CheckTimers
from rojak_ray.errors import ObjectExists, ObjectNotFound, RequestError, StorageError
from rojak_ray.journal.paths import Owner, Paths
from rojak_ray.sessions.requests import Ask, Reply
from rojak_ray.storage.base import Store

logger = logging.getLogger(__name__)

_DUE_AT_ONCE = 1000


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


async def remove_timers(store: Store, paths: Paths, owner: Owner) -> None:
    """Remove all timers of an owner that is gone."""
    ending = paths.timer(owner, datetime.min.replace(tzinfo=UTC)).rsplit("/", 1)[1]
    for key in await store.list(paths.timers):
        if key.endswith(f"/{ending}"):
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

    async def run(self, every_s: float) -> None:
        """Look every so often until cancelled. Storage that fails is tried again."""
        while True:
            try:
                await self.ring()
            except StorageError as error:
                logger.warning("timers cannot be read: %s", error)
            await self._clock.sleep(every_s)

    async def ring(self) -> int:
        """Wake every owner whose timer is due; returns how many.

        Crash safety:
            A timer is removed after its owner was told, so a crash in between tells it twice.
        """
        now = self._clock.now()
        keys = await self._store.list(self._paths.timers, limit=_DUE_AT_ONCE)
        if not keys:
            self._early.clear()
            return 0
        after_now = self._paths.timer(Owner("run", ""), now).rsplit("/", 1)[0] + "/~"
        self._early = {key: at for key, at in self._early.items() if key in keys}
        woken = 0
        for key in keys:
            if key < after_now and self._early.get(key, now) <= now:
                woken += await self._ring_one(key, now)
        return woken

    async def _ring_one(self, key: str, now: datetime) -> bool:
        try:
            timer = json.loads(await self._store.get(key))
            owner, at = Owner(timer["kind"], timer["id"]), datetime.fromisoformat(timer["at"])
        except ObjectNotFound:
            return False
        except (ValueError, KeyError, TypeError) as error:
            logger.error("the timer %s cannot be read (%s); remove it", key, error)  # noqa: TRY400
            return False
        if at > now:
            self._early[key] = at
            return False
        try:
            await self._ask(owner, Ask(commands=(CheckTimers(at=now),)))
        except RequestError as error:
            logger.info("the timer of %s is for nobody: %s", owner, error)
        except StorageError as error:
            logger.warning("%s could not be woken: %s", owner, error)
            return False
        await self._store.delete(key)
        return True
