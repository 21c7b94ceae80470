"""`Sweep`: finds conversations with work left whose process is gone for good, and has them opened again.

Ray restarts actors and the hosts recover by themselves; what is left for the sweep is what Ray does not know of: a
cluster that was lost whole, an actor that could not be started again, a host that could not open a conversation while
the storage was down.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Any

from ray.actor import ActorHandle
from ray.exceptions import ActorDiedError, ActorUnavailableError

from rojak_ray.concurrency import at_most
from rojak_ray.journal.paths import Owner, Paths
from rojak_ray.logs import get_logger
from rojak_ray.runtime.host_map import HostMap
from rojak_ray.runtime.settings import SCHEDULER, RuntimeSettings, session_name
from rojak_ray.schedules.service import has_schedules
from rojak_ray.sessions.alarm import has_timers
from rojak_ray.sessions.markers import active_owners
from rojak_ray.storage.base import Store

logger = get_logger(__name__)

_STARTS_AT_ONCE = 16
_HOST_S = 30.0


class Sweep:
    """One look after another at the index of active owners. In a quiet cluster each is one listing and a few calls."""

    def __init__(
        self,
        settings: RuntimeSettings,
        store: Store,
        *,
        start_host: Callable[[int], ActorHandle[Any]],
        start_session: Callable[[str], ActorHandle[Any]],
        start_scheduler: Callable[[], ActorHandle[Any]],
        names: Callable[[], set[str]],
        hosts: Callable[[], HostMap],
    ) -> None:
        """Args: settings, the storage, how actors are started, which ones there are, and who belongs where."""
        self._settings = settings
        self._store = store
        self._start_host = start_host
        self._start_session = start_session
        self._start_scheduler = start_scheduler
        self._names = names
        self._hosts = hosts
        self._known: dict[str, Owner] = {}

    async def once(self, since: int = 0) -> None:
        """Have everything opened that is in the index and not open where it belongs; start a scheduler that is missed.

        Args:
            since: Leave alone what a host of an earlier reign still has open.

        Raises:
            StorageError: The index could not be read; nothing was done.
            RayError: Ray could not start what is missing; some of it may have been started.

        Crash safety:
            Opening is a claim, and whoever is open already stays so; repeating it is harmless.
        """
        there = await asyncio.to_thread(self._names)
        parts = (
            self._wake_scheduler,
            functools.partial(self._wake_owners, since),
        )  # neither waits for the other, nor goes without by its errors
        await at_most(len(parts), lambda part: part(there), parts)

    async def _wake_scheduler(self, there: set[str]) -> None:
        paths = Paths(self._settings.namespace)
        if SCHEDULER not in there and (await has_schedules(self._store, paths) or await has_timers(self._store, paths)):
            await asyncio.to_thread(self._start_scheduler)

    async def _wake_owners(self, since: int, there: set[str]) -> None:
        homes: dict[int, list[Owner]] = {}
        alone: list[str] = []
        placement = self._settings.placement
        for owner in await active_owners(self._store, Paths(self._settings.namespace), self._known, since=since):
            has_own = owner.kind == "session" and session_name(owner.id) in there
            # What a lost process left is gone on with by shared hosts if it may: starting its actor takes longer.
            if owner.kind == "run" or placement == "shared" or (placement == "auto" and not has_own):
                homes.setdefault(self._hosts().home(owner), []).append(owner)
            else:
                alone.append(owner.id)
        missing = [session_id for session_id in alone if session_name(session_id) not in there]
        if missing:
            logger.warning("starting the actors of %d sessions that were left unfinished", len(missing))
        works = [functools.partial(self._wake_host, index, owners) for index, owners in homes.items()]
        works += [functools.partial(self._wake_session, session_id) for session_id in missing]
        await at_most(_STARTS_AT_ONCE, lambda work: work(), works)

    async def _wake_host(self, index: int, owners: list[Owner]) -> None:
        handle: Any = await asyncio.to_thread(self._start_host, index)
        try:
            async with asyncio.timeout(_HOST_S):
                await handle.wake.remote(owners)
        except (ActorDiedError, ActorUnavailableError, TimeoutError) as error:
            logger.info("shared host %d is on its way back or busy: %s", index, error)

    async def _wake_session(self, session_id: str) -> None:
        await asyncio.to_thread(self._start_session, session_id)
